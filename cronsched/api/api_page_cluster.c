/* The page of the cluster: its replicas, changes of leader, and what doctor finds when it is asked to look. */
#include "cronsched/api/api_page.h"

void api_page_cluster(struct http_request *request, void *arg)
{
    static const struct api_page_question questions[] = {{"cluster", "/v1/cluster"},
                                                         {"takeovers", "/v1/cluster/takeovers?limit=20"},
                                                         {"doctor", "/v1/doctor"}};

    api_page_ask(OBJECT(struct api, arg), request, &page_cluster, "Cluster", json_object(), questions,
                 api_query_text(request, "doctor") ? 3 : 2);
}

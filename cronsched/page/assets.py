#!/usr/bin/python3
"""assets.py FILE...: C with the bytes of the page's files, as they are and compressed, for cronsched/page/assets.h. The same files give the
same bytes: nothing of the time or the machine is in it."""

import gzip
import hashlib
import os
import sys

TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


def array(name, data):
    lines = [", ".join(str(b) for b in data[i:i + 24]) for i in range(0, len(data), 24)]
    return f"static const unsigned char {name}[] = {{\n" + ",\n".join(lines) + "};\n"


def main():
    out, rows = ['#include "cronsched/page/assets.h"\n'], []
    for i, path in enumerate(sorted(sys.argv[1:], key=os.path.basename)):
        with open(path, "rb") as f:
            data = f.read()
        name, extension = os.path.basename(path), os.path.splitext(path)[1]
        small = gzip.compress(data, 9, mtime=0)
        out += [array(f"bytes_{i}", data), array(f"gzip_{i}", small)]
        rows.append(f'    {{"{name}", "{TYPES[extension]}", "{hashlib.sha256(data).hexdigest()[:16]}", bytes_{i}, gzip_{i}, '
                    f"{len(data)}, {len(small)}}},\n")
    out.append("const struct asset assets_all[] = {\n" + "".join(rows) + "};\n")
    out.append("const size_t assets_count = sizeof(assets_all) / sizeof(assets_all[0]);\n")
    sys.stdout.write("\n".join(out))


main()

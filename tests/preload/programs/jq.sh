# SPDX-License-Identifier: BSD-3-Clause
#
# jq: a generated document of half a MB, grouped, sorted and rewritten.
command -v jq >/dev/null || exit 77
if [ "$1" = prepare ]; then
    awk 'BEGIN {
        print "["
        for (i = 0; i < 3000; i++)
            printf "%s{\"id\":%d,\"group\":\"g%d\",\"value\":%.3f,\"tags\":[\"t%d\",\"t%d\",null,true]," \
                   "\"nested\":{\"text\":\"line %d \\u00e9\\n\",\"list\":[%d,%d,[%d]]}}\n",
                   i ? "," : "", i, i * 7919 % 101, i / 7, i % 13, i % 17, i, i * 3, i * 5, i
        print "]"
    }' >data.json
    exit
fi
under jq -S 'group_by(.group) | map({group: .[0].group, n: length, sum: (map(.value) | add)})' \
    "$INPUT/data.json" || exit 1
under jq -c '.[] | select(.id % 9 == 0) | .nested.list |= flatten | .tags |= map(tostring) | del(.value)' \
    "$INPUT/data.json" | cksum
under jq '[.[] | .nested.text | ascii_upcase | test("LINE 1+2")] | map(select(.)) | length' "$INPUT/data.json"
under jq -n 'reduce range(10000) as $i ({}; .["k\($i % 999)"] += $i) | to_entries | map(.value) | add'

#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A replay that can't fail proves nothing: one falsified answer in a trace must end it with status 1
# and name that line, whatever kind of line it is.
set -eu
replay=$BUILD_DIR/tests/oracle/palloc_replay
sizes=$BUILD_DIR/tests/oracle/sizeclass_replay
here=$SOURCE_DIR/tests/oracle
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# expect STATUS LINE COMMAND...: it must exit with STATUS and have LINE in a message.
expect() {
    want=$1
    line=$2
    shift 2
    status=0
    "$@" >"$dir/out" 2>"$dir/err" || status=$?
    if [ $status -ne "$want" ] || ! grep -q "$line" "$dir/err"; then
        echo "$*: exit $status instead of $want, or no \"$line\" in: $(cat "$dir/err")" >&2
        failed=1
    fi
}

# falsify TRACE PATTERN SED: changes the 20th line that matches and expects it to be found out.
falsify() {
    number=$(grep -n "$2" "$here/$1" | sed -n '20s/:.*//p')
    sed "${number}$3" "$here/$1" >"$dir/false.trace"
    if cmp -s "$here/$1" "$dir/false.trace"; then
        echo "$1:$number: $3 changed nothing" >&2
        failed=1
    fi
    expect 1 ":$number: " "$replay" "$dir/false.trace"
}

falsify one-chunk.trace '^alloc .* scav' 's/=> \([0-9]*\) /=> 1\1 /'
falsify one-chunk.trace '^alloc .* scav' 's/scav \([0-9]*\)/scav 1\1/'
falsify tight.trace '^alloc .*fail' 's/fail/0 scav 0/'
falsify large.trace '^alloc .* scav' 's/=>.*/=> fail/'
falsify sparse.trace '^sum ' 's/ \([0-9]*\)$/ 1\1/'
falsify eight-chunks.trace '^sum ' 's/=> /=> 9/'
falsify cached.trace '^cache .* free' 's/free [0-9a-f]/free x/'
falsify cached.trace '^cachealloc .* scav' 's/=> \([0-9]*\) /=> 1\1 /'
falsify cached.trace '^cachealloc .* fail' 's/=>.*/=> 1 scav 0/'
falsify search-address.trace '^search' 's/=> /=> 1/'
falsify scavenged.trace '^scavenge ' 's/=> /=> 1/'
falsify root-entries.trace '^alloc .* scav' 's/=> \([0-9]*\) /=> 1\1 /'

# The bitmap lines are fewer.
number=$(grep -n '^bits' "$here/cached.trace" | sed -n '3s/:.*//p')
sed "${number}s/.\$/x/" "$here/cached.trace" >"$dir/false.trace"
expect 1 ":$number: bits" "$replay" "$dir/false.trace"
number=$(grep -n '^scavbits' "$here/scavenged.trace" | sed -n '2s/:.*//p')
sed "${number}s/.\$/x/" "$here/scavenged.trace" >"$dir/false.trace"
expect 1 ":$number: scavbits" "$replay" "$dir/false.trace"

# A page that is freed twice is not Go's doing either.
{
    printf 'chunk 0 alloc 0+8\nready\nfree 2 3\nfree 4 1\n'
} >"$dir/false.trace"
expect 1 ':4: free' "$replay" "$dir/false.trace"

# What is not a trace is refused with status 2, not taken for one without differences.
: >"$dir/false.trace"
expect 2 'ready' "$replay" "$dir/false.trace"
printf 'ready\nfrobnicate 3\n' >"$dir/false.trace"
expect 2 ':2:' "$replay" "$dir/false.trace"
printf 'chunk 0 alloc 500+13\nready\n' >"$dir/false.trace"
expect 2 ':1:' "$replay" "$dir/false.trace"

# refuse LINE: after "chunk 0" and "ready", this line is no operation of Go's.
refuse() {
    printf 'chunk 0 alloc 0+8\nready\n%s\n' "$1" >"$dir/false.trace"
    expect 2 ':3:' "$replay" "$dir/false.trace"
}
refuse 'alloc'
refuse 'alloc 0 => 8 scav 0'
refuse 'alloc x => 8 scav 0'
refuse 'alloc -1 => fail'
refuse 'alloc 1 1 => 8 scav 0'
refuse 'alloc 99999999999999999999999 => fail'
refuse 'free 512 18446744073709551615'
refuse 'free 18446744073709551615 1'
refuse 'chunk 1 alloc 0+1'
refuse 'grow 0 1'
refuse 'grow 4294967295 2'
refuse 'sum 5 0 => 0 0 0'
refuse 'sum 0 77 => 0 0 0'
refuse 'bits 4294967296 => 0'
refuse 'cache 1048576 => empty'
refuse 'cachealloc 0 0 => fail'
refuse 'search 1 => 8'

sed '30s/	[0-9]*$/	1/' "$here/sizeclass.tsv" >"$dir/false.tsv"
expect 1 'line 30: division magic' "$sizes" "$dir/false.tsv"
sed '/^roundup 65537/s/.$/3/' "$here/sizeclass.tsv" >"$dir/false.tsv"
expect 1 'size rounded up' "$sizes" "$dir/false.tsv"
sed '40d' "$here/sizeclass.tsv" >"$dir/false.tsv"
expect 2 'line 40' "$sizes" "$dir/false.tsv"
sed '/^32769/,$d;/^28673/d;/^roundup/d' "$here/sizeclass.tsv" >"$dir/false.tsv"
expect 1 'number of classes' "$sizes" "$dir/false.tsv"

exit $failed

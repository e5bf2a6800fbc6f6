# SPDX-License-Identifier: BSD-3-Clause
#
# git: clone, repack, gc, fsck, log, blame and grep of a generated repository.
command -v git >/dev/null || exit 77
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=A
export GIT_COMMITTER_EMAIL=a@example.org GIT_AUTHOR_DATE=@1700000000+0000 GIT_COMMITTER_DATE=@1700000000+0000
if [ "$1" = prepare ]; then
    git init -q --bare -b main source.git || exit 1
    awk 'BEGIN {
        for (c = 1; c <= 160; c++) {
            print "commit refs/heads/main\nmark :" c
            print "committer A U Thor <a@example.org> " 1600000000 + c * 600 " +0000"
            message = "change " c "\n"
            print "data " length(message) "\n" message
            if (c > 1) print "from :" c - 1
            for (f = 0; f < 6; f++) {
                n = (c * 7 + f * 13) % 90
                text = ""
                for (l = 0; l < 150; l++)
                    text = text "line " l " of file " n " version " (l % 11 == c % 11 ? c : 0) " " l * n "\n"
                print "M 100644 inline dir" n % 9 "/file" n ".txt\ndata " length(text) "\n" text
            }
        }
        print "done"
    }' | git --git-dir=source.git fast-import --quiet --done || exit 1
    git --git-dir=source.git tag -a -m 'a tag' v1 main~60
    exit
fi

under git clone -q --no-local "$INPUT/source.git" clone || exit 1
cd clone || exit 1
git config pack.threads 1 # with more, the same objects in other packs
git config gc.auto 0
under git log --stat -p --date=iso | cksum
under git log --graph --oneline --all | tail -5
under git blame -s dir3/file30.txt | cksum
under git grep -n -E 'version 1[0-9]{2} ' | cksum
under git diff --word-diff HEAD~40 HEAD | cksum
under git rev-list --objects --all | sort | cksum
under git checkout -q -b side HEAD~30
echo change >>dir1/file1.txt
under git commit -q -a -m side || exit 1
under git merge-tree "$(git merge-base main side)" main side | cksum
git checkout -q main && git branch -q -D side
under git reflog expire --expire=now --all
under git gc -q --prune=now || exit 1
under git repack -q -a -d -f --depth=50 --window=20 || exit 1
under git fsck --full --strict 2>&1 || exit 1
under git -c pack.threads=4 pack-objects --all --stdout -q </dev/null >../threads.pack || exit 1
cd .. && git init -q --bare unpacked.git
under git --git-dir=unpacked.git index-pack --stdin --threads=3 <threads.pack >/dev/null || exit 1
under git --git-dir=unpacked.git cat-file --batch-all-objects --batch-check | cksum
sha1sum clone/.git/objects/pack/*.pack # the only files of the clone that must not differ
rm -rf clone unpacked.git threads.pack

# SPDX-License-Identifier: BSD-3-Clause
#
# gcc: a large generated file, optimised, with debug information; assembly and object are compared.
command -v gcc >/dev/null || exit 77
if [ "$1" = prepare ]; then
    awk 'BEGIN {
        print "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <math.h>"
        for (i = 0; i < 50; i++) {
            print "struct s" i " { int a[" i % 7 + 1 "]; double d; char *text; struct s" i " *next; };"
            print "static int f" i "(struct s" i " *s, int n) {\n    int sum = " i ";"
            print "    for (int k = 0; k < n; k++) {\n        switch ((k * " i + 3 ") & 15) {"
            for (c = 0; c < 16; c++)
                print "        case " c ": sum += s->a[" c % (i % 7 + 1) "] * " c * i " + (sum >> " c % 5 "); " \
                      (c % 3 ? "break;" : "if (s->next) s = s->next;")
            print "        }\n    }\n    s->d = sum * " i ".5;\n    if (s->text) sum += strlen(s->text);"
            print "    return sum" (i ? " + (n > 1 ? (int)sizeof(struct s" i - 1 ") : n)" : "") ";\n}"
        }
        print "int main(int argc, char **argv) {\n    int r = argc;\n    (void)argv;"
        for (i = 0; i < 50; i++)
            print "    { struct s" i " s = {0}; r += f" i "(&s, r & 63); }"
        print "    printf(\"%d\\n\", r);\n    return 0;\n}"
    }' >large.c
    exit
fi
under gcc -g -O2 -S "$INPUT/large.c" -o large.s || exit 1
under gcc -g1 -O1 -c "$INPUT/large.c" -o large.o || exit 1
under gcc large.o -o large || exit 1
./large

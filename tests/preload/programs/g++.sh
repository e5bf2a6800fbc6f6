# SPDX-License-Identifier: BSD-3-Clause
#
# g++: large headers of the standard library, and templates over them; the assembly is compared.
command -v g++ >/dev/null || exit 77
if [ "$1" = prepare ]; then
    cat >heavy.cc <<'END'
#include <array>
#include <functional>
#include <iostream>
#include <map>
#include <regex>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct chain : chain<N - 1> {
    std::map<std::string, std::vector<std::array<int, N % 7 + 1>>> m;
    std::function<int(int)> f = [this](int x) { return x + N + int(m.size()); };
    int sum(int x) { return chain<N - 1>::sum(f(x)); }
};
template <> struct chain<0> {
    int sum(int x) { return x; }
};
int main() {
    chain<4> c;
    std::regex r("(a+|b*)c[0-9]{2,3}");
    std::cmatch m;
    std::unordered_map<std::string, std::variant<int, std::string, std::vector<double>>> u;
    u["x"] = std::string("y");
    std::cout << c.sum(1) << std::regex_search("aac123", m, r) << u.size() << '\n';
}
END
    exit
fi
under g++ -std=c++20 -g1 -O1 -S "$INPUT/heavy.cc" -o heavy.s || exit 1

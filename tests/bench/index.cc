// SPDX-License-Identifier: BSD-3-Clause
//
// A C++ program of two threads, as such programs are: index ROUNDS
//
// Each thread makes text, splits it into words, keeps in a map for each word the lines it is on,
// and asks questions of the map.  Strings, vectors, maps, lists and shared pointers are used as
// they come, through the library's templates, and most objects live shortly.  What is printed is
// always the same.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

struct entry {
    std::vector<unsigned> lines;
    std::string longest;
};

using words = std::vector<std::string>;
using word_index = std::map<std::string, std::shared_ptr<entry>>;

std::uint32_t next(std::uint32_t &seed) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

std::string make_line(std::uint32_t &seed) {
    std::ostringstream line;
    for (unsigned i = 0, n = 4 + next(seed) % 8; i < n; i++)
        line << (i != 0 ? " " : "") << "w" << next(seed) % 997 << std::string(next(seed) % 24, 'x');
    return line.str();
}

words split(const std::string &line) {
    words found;
    for (std::size_t from = 0; from < line.size();) {
        std::size_t to = std::min(line.find(' ', from), line.size());
        found.push_back(line.substr(from, to - from));
        from = to + 1;
    }
    return found;
}

void add(word_index &index, const words &line, unsigned number) {
    for (const std::string &word : line) {
        std::shared_ptr<entry> &e = index[word.substr(0, word.find('x'))];
        if (!e)
            e = std::make_shared<entry>();
        e->lines.push_back(number);
        if (word.size() > e->longest.size())
            e->longest = word;
    }
}

// The words whose first line goes with those of all that are asked for.
std::list<std::string> common(const word_index &index, const words &asked) {
    std::list<std::string> found;
    for (const auto &item : index) {
        const entry &e = *item.second;
        if (std::all_of(asked.begin(), asked.end(), [&](const std::string &a) {
                auto other = index.find(a);
                return other != index.end() &&
                       other->second->lines.front() % 7 == e.lines.front() % 7;
            }))
            found.push_back(item.first + ":" + e.longest);
    }
    return found;
}

std::unique_ptr<word_index> make_index(std::uint32_t seed) {
    auto index = std::make_unique<word_index>();
    for (unsigned line = 0; line < 400; line++)
        add(*index, split(make_line(seed)), line);
    return index;
}

std::uint64_t digest(const word_index &index, std::uint32_t seed) {
    std::uint64_t sum = index.size();
    for (unsigned i = 0; i < 6; i++)
        for (const std::string &s : common(index, {"w" + std::to_string(next(seed) % 997)}))
            sum = sum * 31 + s.size() + static_cast<unsigned char>(s[1]);
    return sum;
}

std::uint64_t work(unsigned rounds, std::uint32_t seed) {
    std::uint64_t sum = 0;
    std::unique_ptr<word_index> before; // of the round before, freed while the next one lives
    for (unsigned i = 0; i < rounds; i++) {
        auto index = make_index(seed + i);
        sum = sum * 131 + digest(*index, seed + i);
        before = std::move(index);
    }
    return sum;
}

} // namespace

int main(int argc, char **argv) {
    unsigned rounds = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 10;
    auto one = std::async(std::launch::async, work, rounds, 1u);
    auto two = std::async(std::launch::async, work, rounds, 77777u);
    std::cout << (one.get() ^ two.get()) << '\n';
    return 0;
}

// SPDX-License-Identifier: BSD-3-Clause
//
// A threaded C++ program with deterministic output, for programs/threads.sh: containers, strings,
// exceptions, shared pointers, futures, streams, every form of new, and threads that come and go.
//
// Each task computes a digest from its own seed; objects travel between threads through a queue,
// so that most are freed by another thread than the one that made them.  An argument says how often
// all of it is done.
#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

using digest = std::uint64_t;

digest mix(digest h, digest x) {
    h ^= x + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    return h * 0xff51afd7ed558ccdu;
}

digest of(const std::string &s) {
    digest h = s.size();
    for (unsigned char c : s)
        h = mix(h, c);
    return h;
}

digest containers(unsigned seed) {
    std::mt19937 random(seed);
    std::map<std::string, std::vector<int>> tree;
    std::unordered_map<unsigned, std::list<std::string>> table;
    std::set<std::string> names;
    std::deque<std::unique_ptr<std::array<int, 30>>> queue;
    digest h = seed;
    for (int i = 0; i < 8000; i++) {
        unsigned r = random();
        std::string name = "name-" + std::to_string(r % 1000);
        tree[name].push_back(i);
        table[r % 300].push_front(name + std::string(r % 90, 'x'));
        names.insert(std::move(name));
        queue.push_back(std::make_unique<std::array<int, 30>>());
        queue.back()->fill(i);
        if (queue.size() > 100) {
            h = mix(h, queue.front()->at(7));
            queue.pop_front();
        }
        if (i % 17 == 0)
            table.erase(r % 300);
    }
    for (const auto &[name, values] : tree)
        h = mix(mix(h, of(name)), std::accumulate(values.begin(), values.end(), digest{0}));
    for (unsigned k = 0; k < 300; k++) {
        if (auto it = table.find(k); it != table.end()) {
            for (const auto &s : it->second)
                h = mix(h, of(s));
        }
    }
    return mix(h, names.size());
}

struct base {
    virtual ~base() = default;
    virtual digest value() const = 0;
};

template <std::size_t N> struct alignas(N >= 64 ? 64 : 8) derived : base {
    std::array<unsigned char, N> bytes;
    explicit derived(unsigned seed) {
        std::fill(bytes.begin(), bytes.end(), static_cast<unsigned char>(seed));
    }
    digest value() const override { return std::accumulate(bytes.begin(), bytes.end(), digest{N}); }
};

std::shared_ptr<base> make(unsigned r) {
    switch (r % 5) {
    case 0:
        return std::make_shared<derived<3>>(r);
    case 1:
        return std::shared_ptr<base>(new derived<40>(r));
    case 2:
        return std::shared_ptr<base>(new derived<200>(r)); // aligned new
    case 3:
        return std::make_shared<derived<5000>>(r);
    default:
        return std::unique_ptr<base>(new (std::nothrow) derived<12>(r));
    }
}

digest thrown(unsigned seed, int depth) {
    std::vector<std::string> held(3, std::string(seed % 100 + 20, 'h'));
    if (depth == 0)
        throw std::runtime_error("thrown at seed " + std::to_string(seed));
    return thrown(seed + 1, depth - 1) + held.size();
}

digest exceptions(unsigned seed) {
    digest h = seed;
    for (unsigned i = 0; i < 300; i++) {
        try {
            h = mix(h, thrown(seed + i, i % 12));
        } catch (const std::exception &e) {
            h = mix(h, of(e.what()));
            std::exception_ptr kept = std::current_exception();
            try {
                std::rethrow_exception(kept);
            } catch (const std::runtime_error &again) {
                h = mix(h, of(again.what()));
            }
        }
    }
    return h;
}

digest streams(unsigned seed) {
    std::ostringstream out;
    for (unsigned i = 0; i < 2000; i++)
        out << i * seed << ' ' << std::hex << i << std::dec << ' ' << i / 3.0 << '\n';
    std::istringstream in(out.str());
    digest h = 0;
    for (std::string line; std::getline(in, line);)
        h = mix(h, of(line));
    return h;
}

// Hands objects from producers to consumers.
class channel {
  public:
    void send(std::shared_ptr<base> p) {
        std::unique_lock lock(mutex_);
        room_.wait(lock, [this] { return queue_.size() < 500; });
        queue_.push_back(std::move(p));
        filled_.notify_one();
    }
    std::shared_ptr<base> receive() {
        std::unique_lock lock(mutex_);
        filled_.wait(lock, [this] { return !queue_.empty(); });
        auto p = std::move(queue_.front());
        queue_.pop_front();
        room_.notify_one();
        return p;
    }

  private:
    std::mutex mutex_;
    std::condition_variable filled_, room_;
    std::deque<std::shared_ptr<base>> queue_;
};

digest pipeline() {
    constexpr int producers = 3, each = 8000;
    channel c;
    std::vector<std::thread> threads;
    for (int t = 0; t < producers; t++)
        threads.emplace_back([&c, t] {
            std::mt19937 random(t);
            for (int i = 0; i < each; i++)
                c.send(make(random()));
        });
    std::vector<std::future<digest>> sums;
    for (int t = 0; t < producers; t++)
        sums.push_back(std::async(std::launch::async, [&c] {
            digest sum = 0; // a sum: the order in which objects arrive is nobody's business
            for (int i = 0; i < each; i++)
                sum += c.receive()->value();
            return sum;
        }));
    digest sum = 0;
    for (auto &s : sums)
        sum += s.get();
    for (auto &t : threads)
        t.join();
    return sum;
}

digest churn() {
    std::vector<digest> result(600);
    for (unsigned i = 0; i < result.size(); i += 6) {
        std::vector<std::thread> threads;
        for (unsigned k = i; k < i + 6; k++)
            threads.emplace_back([&result, k] {
                thread_local std::map<int, std::string> mine;
                for (unsigned n = 0; n < 100; n++)
                    mine[n] = std::string(n + k % 50, 'c');
                for (const auto &[n, s] : mine)
                    result[k] = mix(result[k], of(s) + n);
            });
        for (auto &t : threads)
            t.join();
    }
    return std::accumulate(result.begin(), result.end(), digest{0}, mix);
}

void round() {
    std::vector<std::future<std::string>> tasks;
    const std::pair<const char *, digest (*)(unsigned)> kinds[] = {
        {"containers", containers}, {"exceptions", exceptions}, {"streams", streams}};
    for (unsigned seed = 1; seed <= 12; seed++)
        tasks.push_back(std::async(std::launch::async, [seed, &kinds] {
            std::string line;
            for (const auto &[name, f] : kinds)
                line += std::string(name) + ' ' + std::to_string(f(seed)) + ' ';
            return line;
        }));
    for (auto &t : tasks)
        std::cout << t.get() << '\n';
    std::cout << "pipeline " << pipeline() << "\nchurn " << churn() << '\n';
}

} // namespace

int main(int argc, char **argv) {
    int rounds = argc > 1 ? std::stoi(argv[1]) : 1;
    for (int i = 0; i < rounds; i++)
        round();
}

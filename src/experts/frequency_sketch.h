// About how often keys were used lately, of far more keys than could be counted one by one.
//
// A count-min sketch as TinyLFU has it (Einziger, Friedman and Manes, ACM Transactions on Storage 13(4),
// 2017): a key has four counters of four bits and its count is the least of them, which is never too low
// and, as others share them, sometimes too high. After ten uses for each key that is to be told apart all
// counters are halved, so that what was popular once is forgotten. The four lie in one line of the
// processor's cache. It takes four bytes for a key, at least a line.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace cachalot {

class FrequencySketch {
  public:
    static constexpr int kMost = 15;
    static constexpr std::uint64_t kLine = 64, kBytesPerKey = 4;  // in whole lines

    explicit FrequencySketch(std::uint64_t keys)
        : lines_(lines(keys)), period_(10 * keys), words_(lines_ * kWords) {}

    // Keys are told apart by their hashes, of 64 even bits.
    void count(std::uint64_t hash) {
        const int least = uses(hash);
        for (unsigned i = 0; least < kMost && i < kCounters; ++i)
            if (const Counter at = counter(hash, i); get(at) == least)
                words_[at.word] += std::uint64_t{1} << at.shift;
        if (++counted_ < period_) return;
        counted_ = 0;
        for (auto& word : words_) word = word >> 1 & 0x7777'7777'7777'7777;
    }

    int uses(std::uint64_t hash) const {  // 0 to kMost
        int least = kMost;
        for (unsigned i = 0; i < kCounters; ++i) least = std::min(least, get(counter(hash, i)));
        return least;
    }

  private:
    static constexpr unsigned kCounters = 4;  // of a key, each in two words of its own
    static constexpr std::uint64_t kWords = kLine / sizeof(std::uint64_t);

    struct Counter {
        std::size_t word;
        unsigned shift;
    };

    static std::uint64_t lines(std::uint64_t keys) {
        return std::max<std::uint64_t>(1, (keys * kBytesPerKey + kLine - 1) / kLine);
    }
    Counter counter(std::uint64_t hash, unsigned i) const {
        const std::uint64_t line = (hash >> 32) * lines_ >> 32;
        const auto place = static_cast<unsigned>(hash >> (5 * i)) % 32;
        return {line * kWords + 2 * i + place / 16, place % 16 * 4};
    }
    int get(Counter at) const { return static_cast<int>(words_[at.word] >> at.shift & 15); }

    std::uint64_t lines_, period_, counted_ = 0;
    std::vector<std::uint64_t> words_;
};

}  // namespace cachalot

#include "model/engram_random.h"

#include <array>
#include <bit>

namespace cachalot {
namespace {

constexpr std::uint32_t kSeed = 10007;

// The hash of SeedSequence: each word is mixed with a constant that changes from word to word.
class WordHash {
  public:
    WordHash(std::uint32_t first, std::uint32_t factor) : constant_(first), factor_(factor) {}

    std::uint32_t operator()(std::uint32_t word) {
        word ^= constant_;
        constant_ *= factor_;
        word *= constant_;
        return word ^ word >> 16;
    }

  private:
    std::uint32_t constant_, factor_;
};

// Eight words from a seed of one.
std::array<std::uint32_t, 8> words_of(std::uint32_t seed) {
    WordHash in(0x43b0d7e5, 0x931e8875), out(0x8b51f9dd, 0x58f38ded);
    std::array<std::uint32_t, 4> pool;
    for (std::uint32_t& word : pool) {
        word = in(seed);
        seed = 0;
    }
    for (const std::uint32_t& from : pool)
        for (std::uint32_t& to : pool) {
            if (&from == &to) continue;
            const std::uint32_t mixed = 0xca01f9dd * to - 0x4973f715 * in(from);
            to = mixed ^ mixed >> 16;
        }
    std::array<std::uint32_t, 8> words;
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = out(pool[i % pool.size()]);
    return words;
}

}  // namespace

EngramRandom::EngramRandom(int layer) {
    const auto words = words_of(kSeed * static_cast<std::uint32_t>(layer));
    const auto pair = [&](std::size_t i) { return std::uint64_t{words[i + 1]} << 32 | words[i]; };
    increment_ = (Wide{pair(4)} << 64 | pair(6)) << 1 | 1;
    step();
    state_ += Wide{pair(0)} << 64 | pair(2);
    step();
}

void EngramRandom::step() {
    constexpr Wide kFactor = Wide{0x2360ed051fc65da4} << 64 | 0x4385df649fccf645;
    state_ = state_ * kFactor + increment_;
}

std::uint64_t EngramRandom::next() {
    step();
    return std::rotr(static_cast<std::uint64_t>(state_ >> 64) ^ static_cast<std::uint64_t>(state_),
                     static_cast<int>(state_ >> 122));
}

std::uint64_t EngramRandom::below(std::uint64_t bound) {
    const std::uint64_t least = (0 - bound) % bound;  // below it, some results would come more often
    while (true) {
        const Wide product = Wide{next()} * bound;
        if (static_cast<std::uint64_t>(product) >= least) return static_cast<std::uint64_t>(product >> 64);
    }
}

}  // namespace cachalot

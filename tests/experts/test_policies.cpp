// Each policy against sequences small enough to be followed by hand. Experts are a, b, c, ... of one layer,
// chosen one at a time.
#include <gtest/gtest.h>

#include "experts/expert_cache.h"

namespace cachalot {
namespace {

class OneLayer {
  public:
    OneLayer(std::string_view policy, int slots, const PolicyOptions& options = {})
        : shape_{1, 26, slots}, cache_(shape_, make_policy(policy, shape_, options)) {}
    OneLayer(std::unique_ptr<ReplacementPolicy> policy, int slots)
        : shape_{1, 26, slots}, cache_(shape_, std::move(policy)) {}

    // Every letter is one token; a hit gives the letter in capitals, a miss as it is.
    std::string use(std::string_view letters) {
        std::string result;
        for (const char letter : letters) {
            const std::int32_t expert = letter - 'a', one = 1;
            int slot;
            cache_.begin_pass(1, false);
            cache_.select(0, {&expert, 1}, {&one, 1}, {&slot, 1});
            const bool hit = slot != ExpertCache::kNoSlot;
            if (!hit) cache_.place(static_cast<ExpertKey>(expert));
            cache_.release(static_cast<ExpertKey>(expert));
            result += hit ? static_cast<char>(letter - 'a' + 'A') : letter;
        }
        return result;
    }
    std::string residents() const {
        std::string result;
        for (ExpertKey key = 0; key < shape_.keys(); ++key)
            if (cache_.slot(key) != ExpertCache::kNoSlot) result += static_cast<char>('a' + key);
        return result;
    }

  private:
    CacheShape shape_;
    ExpertCache cache_;
};

TEST(Lru, EvictsWhatWasUsedLongestAgo) {
    OneLayer cache("lru", 3);
    EXPECT_EQ(cache.use("abcadb"), "abcAdb");
    EXPECT_EQ(cache.residents(), "abd");
    EXPECT_EQ(OneLayer("lru", 3).use("abcdabcd"), "abcdabcd");  // a cycle longer than the cache: nothing hits
}

TEST(LruPerLayer, GivesEveryLayerItsShare) {
    const CacheShape shape{2, 4, 3};  // two slots for layer 0, one for layer 1
    ExpertCache cache(shape, make_lru_per_layer(shape));
    for (int layer = 0; layer < 2; ++layer)
        for (int e = 0; e < 3; ++e) {
            cache.place(shape.key(layer, e));
            cache.release(shape.key(layer, e));
        }
    std::string there;
    for (ExpertKey key = 0; key < shape.keys(); ++key)
        there += cache.slot(key) == ExpertCache::kNoSlot ? '.' : 'x';
    EXPECT_EQ(there, ".xx...x.");
}

TEST(Lfu, KeepsWhatWasUsedOftenAndRemembersTheEvicted) {
    OneLayer cache("lfu", 2);
    EXPECT_EQ(cache.use("aaabcb"), "aAAbcb");
    EXPECT_EQ(cache.residents(), "ab");
    EXPECT_EQ(cache.use("cc"), "cC");  // used three times now, b only twice
    EXPECT_EQ(cache.use("ca"), "CA");
}

TEST(AgeingLfu, HalvesItsCountsEverySixteenTokens) {
    // a: 8 uses, then 24 of others, so that 8 becomes 4 and 2; b: 3 uses after that.
    const std::string text = "aaaaaaaa" + std::string(24, 'z') + "bbbc";
    OneLayer ageing("lfu-ageing", 3), plain("lfu", 3);
    ageing.use(text);
    plain.use(text);
    EXPECT_EQ(ageing.residents(), "bcz");
    EXPECT_EQ(plain.residents(), "acz");
}

TEST(RedisLfu, CountsLogarithmically) {
    // With factor 0 every use counts: lowest is b with one use after its admission.
    PolicyOptions every;
    every.redis = {0, 0, false};
    OneLayer cache("redis", 3, every);
    EXPECT_EQ(cache.use("aaabbcccd"), "aAAbBcCCd");
    EXPECT_EQ(cache.residents(), "acd");
    // With a huge factor only the first use does, which always counts; then the least recently used leaves.
    PolicyOptions first;
    first.redis = {1e6, 0, false};
    OneLayer flat("redis", 3, first);
    flat.use("aaabbcccd");
    EXPECT_EQ(flat.residents(), "bcd");
}

TEST(RedisLfu, DecaysWithTime) {
    PolicyOptions options;
    options.redis = {0, 4, false};
    OneLayer cache("redis", 2, options);
    cache.use("aaaaa");               // 5 + 4
    cache.use(std::string(60, 'b'));  // a falls to 0
    EXPECT_EQ(cache.use("c"), "c");
    EXPECT_EQ(cache.residents(), "bc");
}

TEST(RedisLfu, NewcomersEvictEachOtherWithItsOwnParameters) {
    OneLayer cache("redis", 3);
    EXPECT_EQ(cache.use("aabbcdefgh"), "aAbBcdefgh");
    EXPECT_EQ(cache.residents(), "abh");
}

// Followed on paper with the pseudocode of the article, c = 2.
TEST(Arc, FollowsTheArticle) {
    OneLayer cache("arc", 2);
    EXPECT_EQ(cache.use("aa"), "aA");  // T2 = a
    EXPECT_EQ(cache.use("b"), "b");    // T1 = b
    EXPECT_EQ(cache.use("c"), "c");    // p = 0: b leaves T1, is a ghost in B1; T1 = c
    EXPECT_EQ(cache.residents(), "ac");
    EXPECT_EQ(cache.use("b"), "b");  // in B1: p = 1; T1 is not longer than p, so that a leaves T2; T2 = b
    EXPECT_EQ(cache.residents(), "bc");
    EXPECT_EQ(cache.use("a"), "a");  // in B2: p = 0; c leaves T1; T2 = a b
    EXPECT_EQ(cache.residents(), "ab");
    EXPECT_EQ(cache.use("dcd"), "dcD");  // d: b leaves T2. c, in B1: p = 1, a leaves. d hits T1.
}

// Followed on paper: ten slots, one of them the small queue's.
TEST(S3Fifo, FollowsTheArticle) {
    OneLayer cache("s3-fifo", 10);
    cache.use("abcdefghij");  // all in the small queue, oldest a
    EXPECT_EQ(cache.use("aaab"), "AAAB");
    EXPECT_EQ(cache.use("k"), "k");  // a was used more than once: to the main queue. b once: out, a ghost
    EXPECT_EQ(cache.residents(), "acdefghijk");
    EXPECT_EQ(cache.use("b"), "b");  // a ghost: to the main queue. c leaves
    EXPECT_EQ(cache.residents(), "abdefghijk");
    EXPECT_EQ(cache.use("lmnopqrst"), "lmnopqrst");  // one goes through the small queue after the other
    EXPECT_EQ(cache.residents(), "abmnopqrst");
}

// Followed on paper: three slots, one the window's, one protected.
TEST(WTinyLfu, AdmitsWhatIsUsedMoreOften) {
    OneLayer cache("w-tinylfu", 3);
    EXPECT_EQ(cache.use("abc"), "abc");  // window c, probation b a
    EXPECT_EQ(cache.use("aab"), "AAB");  // a to protected; then b, and a back to probation
    EXPECT_EQ(cache.use("d"), "d");      // c was used once, a three times: c leaves. window d
    EXPECT_EQ(cache.residents(), "abd");
    EXPECT_EQ(cache.use("dddd"), "DDDD");
    EXPECT_EQ(cache.use("e"), "e");  // d was used five times, a three: a leaves. window e
    EXPECT_EQ(cache.residents(), "bde");
}

TEST(Belady, EvictsWhatIsNeededLast) {
    const std::string text = "abcdabdcab";
    std::vector<ExpertKey> future;
    for (const char c : text) future.push_back(static_cast<ExpertKey>(c - 'a'));
    OneLayer cache(make_belady({1, 26, 3}, future), 3);
    // d: c comes later than a and b. c: d comes no more.
    EXPECT_EQ(cache.use(text), "abcdABDcAB");
}

TEST(Forecast, KeepsWhatIsUsedOften) {
    OneLayer cache("forecast", 3);
    std::string text;
    for (int i = 0; i < 20; ++i) text += std::string("abab") + static_cast<char>('c' + i % 20);
    cache.use(text);
    EXPECT_EQ(cache.residents().substr(0, 2), "ab");
}

// Twelve layers with one expert each and eight slots: a cycle, in which LRU finds nothing.
TEST(Forecast, KeepsTheLayersThatComeNext) {
    const CacheShape shape{12, 1, 8};
    auto hits = [&](std::string_view policy) {
        ExpertCache cache(shape, make_policy(policy, shape));
        for (int token = 0; token < 50; ++token) {
            cache.begin_pass(1, false);
            for (int layer = 0; layer < shape.layers; ++layer) {
                const std::int32_t expert = 0, one = 1;
                int slot;
                cache.select(layer, {&expert, 1}, {&one, 1}, {&slot, 1});
                if (slot == ExpertCache::kNoSlot) cache.place(shape.key(layer, 0));
                cache.release(shape.key(layer, 0));
            }
        }
        return cache.decode().hits;
    };
    EXPECT_EQ(hits("lru"), 0u);
    EXPECT_GT(hits("forecast"), 50u * 6);  // at most 7 of 12
}

}  // namespace
}  // namespace cachalot

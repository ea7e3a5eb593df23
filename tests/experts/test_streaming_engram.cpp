// Engram tables that are read from disk: what comes out is what is in the files, whatever is kept and however
// the disk behaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "experts/engram_budget.h"
#include "experts/streaming_engram_store.h"
#include "file/text_file.h"
#include "model/convert.h"
#include "state/kv_pool.h"
#include "support/faulty_queue.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Rows of 33 bytes in tables of some thousand: in the release 32 and 1, in the GGUF file in one piece, and
// there some of them cross a block.
class StreamingEngram : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = new test::TemporaryFolder;
        auto text = nlohmann::json::parse(read_text_file(CACHALOT_TEST_DATA "/config/tiny41.json"));
        text["text_config"]["n_routed_experts"] = 4;  // faster to write
        std::filesystem::create_directory(folder_->path() / "release");
        test::TinyRelease make(folder_->path() / "release", text);
        convert(*Checkpoint::open(folder_->path() / "release"), gguf_path(),
                {.types = {.dense = DType::f8_e4m3}});
        release_ = Model::load(folder_->path() / "release");
        gguf_ = Model::load(gguf_path());
    }
    static void TearDownTestSuite() {
        release_.reset();
        gguf_.reset();
        delete folder_;
    }

    static const std::filesystem::path& folder() { return folder_->path(); }
    static std::filesystem::path gguf_path() { return folder_->path() / "m.gguf"; }

    static KvState new_state(const Model& model) {
        return KvState(
            std::make_shared<KvPool>(KvLayout(model.config, KvPrecision::f32), make_host_device()));
    }
    // Repeating ones, as texts have.
    static std::vector<std::int32_t> tokens(std::mt19937& random, std::size_t count, int vocabulary = 40) {
        std::vector<std::int32_t> tokens(count);
        for (auto& token : tokens) token = static_cast<std::int32_t>(random() % vocabulary);
        return tokens;
    }
    static std::vector<float> read(EngramStore& store, const Model& model, const Batch& batch) {
        std::vector<float> all;
        for (int table = 0; table < std::ssize(model.config.engram.layers); ++table) {
            std::vector<float> rows(
                static_cast<std::size_t>(batch.rows() * model.config.engram.input_size()));
            store.read(table, rows);
            store.proceed();
            all.insert(all.end(), rows.begin(), rows.end());
        }
        return all;
    }
    static std::vector<float> pass(EngramStore& store, const Model& model, const Batch& batch) {
        store.begin_pass(batch);
        return read(store, model, batch);
    }
    static std::vector<float> mapped(const Model& model, const Batch& batch) {
        MappedEngramStore store(model.config, model.weights, model.engram_hash);
        return pass(store, model, batch);
    }
    static StreamingEngramStore streaming(const Model& model, std::uint64_t cache,
                                          std::unique_ptr<ReadQueue> queue) {
        return {model, all_layers(model.config), cache, std::move(queue)};
    }

    static inline test::TemporaryFolder* folder_ = nullptr;
    static inline std::shared_ptr<const Model> release_, gguf_;
};

TEST_F(StreamingEngram, GivesWhatTheMappedTablesGive) {
    for (const auto& model : {release_, gguf_}) {
        const std::uint64_t row = StreamingEngramStore::smallest_cache(*model);
        for (const std::uint64_t cache : {std::uint64_t{0}, row, 5 * row, 100 * row, std::uint64_t{1} << 30})
            for (const int kind : {0, 1, 2}) {
                SCOPED_TRACE(fmt::format("{}, {} bytes, queue {}", model->checkpoint->source(), cache, kind));
                std::unique_ptr<ReadQueue> queue = kind == 0   ? std::make_unique<test::FaultyQueue>()
                                                   : kind == 1 ? make_thread_queue(3)
                                                               : make_read_queue();
                auto store = streaming(*model, cache, std::move(queue));
                std::mt19937 random(static_cast<unsigned>(cache) + 1);
                std::vector<KvState> states;
                for (int i = 0; i < 3; ++i) states.push_back(new_state(*model));
                for (int round = 0; round < 6; ++round) {
                    std::vector<std::vector<std::int32_t>> texts;
                    for (int i = 0; i < 3; ++i) texts.push_back(tokens(random, 1 + random() % 30));
                    Batch batch;
                    for (std::size_t i = 0; i < 3; ++i)
                        batch.add(states[i], texts[i], static_cast<RowsKind>(random() % 3));
                    ASSERT_EQ(pass(store, *model, batch), mapped(*model, batch));
                    for (std::size_t i = 0; i < 3; ++i) {
                        states[i].extend(std::ssize(texts[i]));
                        states[i].advance(texts[i]);
                    }
                }
                const auto stats = *store.stats();
                EXPECT_LE(stats.cache_bytes, cache);
                EXPECT_LE(store.cached_rows(), stats.rows);
                EXPECT_EQ(cache == 0, stats.rows == 0);
            }
    }
}

TEST_F(StreamingEngram, CountsRowsOnceInAPassAndFindsThemInTheNext) {
    auto store = streaming(*gguf_, 1 << 20, std::make_unique<test::FaultyQueue>());
    KvState state = new_state(*gguf_);
    const std::vector<std::int32_t> text(9, 17);  // the same n-grams, but for the beginning
    std::uint64_t distinct = 0;
    for (int table = 0; table < 2; ++table) {
        std::vector<std::int64_t> rows;
        gguf_->engram_hash.rows(table, {}, text, rows);
        distinct += std::set(rows.begin(), rows.end()).size();
    }
    Batch batch;
    batch.add(state, text, RowsKind::decode);
    store.begin_pass(batch);
    for (int i = 0; i < 1000; ++i) store.proceed();  // until all has arrived
    read(store, *gguf_, batch);
    const auto first = *store.stats();
    EXPECT_EQ(first.decode.tokens, 9);
    EXPECT_EQ(first.decode.lookups, distinct);
    EXPECT_LT(distinct, 9u * 6 * 2);
    EXPECT_EQ(first.decode.hits, 0u);
    EXPECT_EQ(first.decode.ahead, distinct);
    EXPECT_GE(first.decode.bytes_read, BlockReader::kBlock);
    EXPECT_EQ(store.cached_rows(), distinct);

    Batch again;
    again.add(state, text, RowsKind::prompt);
    pass(store, *gguf_, again);
    const auto second = *store.stats();
    EXPECT_EQ(second.prompt.lookups, distinct);
    EXPECT_EQ(second.prompt.hits, distinct);
    EXPECT_EQ(second.prompt.ahead, 0u);
    EXPECT_EQ(second.prompt.bytes_read, 0u);
    EXPECT_EQ(second.decode.lookups, first.decode.lookups);
    EXPECT_EQ(second.table_rows, 3144u + 3424);
}

TEST_F(StreamingEngram, WithoutACacheEverythingIsReadEachTime) {
    auto store = streaming(*release_, 0, make_thread_queue(2));
    KvState state = new_state(*release_);
    const std::vector<std::int32_t> text = {5};
    for (int i = 1; i <= 3; ++i) {
        Batch batch;
        batch.add(state, text, RowsKind::decode);
        EXPECT_EQ(pass(store, *release_, batch), mapped(*release_, batch));
        EXPECT_EQ(store.stats()->decode.hits, 0u);
        EXPECT_GE(store.stats()->decode.lookups, static_cast<unsigned>(i) * 2);
    }
}

// A prompt that reads the whole table: a block is read once, though a hundred rows lie in it.
TEST_F(StreamingEngram, NeighboursAreReadTogether) {
    auto store = streaming(*gguf_, 0, std::make_unique<test::FaultyQueue>());
    KvState state = new_state(*gguf_);
    std::mt19937 random(3);
    const auto text = tokens(random, 4000, 8000);
    Batch batch;
    batch.add(state, text, RowsKind::prompt);
    EXPECT_EQ(pass(store, *gguf_, batch), mapped(*gguf_, batch));
    const auto stats = *store.stats();
    EXPECT_GT(stats.prompt.lookups, stats.table_rows * 9 / 10);
    // Each group of 128 rows or more may share a block with the one before it.
    EXPECT_LE(stats.prompt.bytes_read, stats.table_bytes + (stats.table_rows / 128 + 4) * 2 * 4096);
}

TEST_F(StreamingEngram, OnlyTablesOfItsLayersAreRead) {
    const Config& c = gguf_->config;
    StreamingEngramStore store(*gguf_, LayerRange{0, 1, true, false}, 0, make_thread_queue(1));
    KvState state = new_state(*gguf_);
    const std::vector<std::int32_t> text = {5};
    Batch batch;
    batch.add(state, text, RowsKind::decode);
    store.begin_pass(batch);
    std::vector<float> rows(static_cast<std::size_t>(c.engram.input_size()));
    store.read(0, rows);
    const auto all = mapped(*gguf_, batch);
    EXPECT_EQ(rows, std::vector<float>(all.begin(), all.begin() + std::ssize(rows)));
    EXPECT_LE(store.stats()->decode.lookups, static_cast<unsigned>(c.engram.rows_per_token()));
}

TEST_F(StreamingEngram, ARowThatCannotBeReadFailsThePassAndNothingElse) {
    for (const auto& model : {release_, gguf_}) {
        KvState state = new_state(*model);
        std::mt19937 random(7);
        const auto text = tokens(random, 60, 8000);
        Batch batch;
        batch.add(state, text, RowsKind::prompt);
        // Of the reads that a pass needs with nothing in the cache, `good` succeed. Returns those that were
        // asked for.
        auto reads_with = [&](int good, std::int64_t result) {
            auto queue = std::make_unique<test::FaultyQueue>();
            auto* disk = queue.get();
            auto store = streaming(*model, 4000, std::move(queue));
            int reads = 0;
            disk->fault = [&](const QueuedRead&) -> std::optional<std::int64_t> {
                if (++reads <= good) return {};
                return result;
            };
            try {
                pass(store, *model, batch);
            } catch (const Error& e) {
                EXPECT_GT(reads, good);
                EXPECT_THAT(e.what(), AllOf(HasSubstr(folder().string()), HasSubstr("offset"),
                                            HasSubstr("the Engram table of layer "),
                                            HasSubstr(result == 0 ? "only 0 bytes" : "Input/output error")));
                disk->fault = {};
                EXPECT_EQ(pass(store, *model, batch), mapped(*model, batch));
                EXPECT_EQ(disk->under_way, 0);
                return -1;
            }
            return reads;
        };
        const int all = reads_with(1 << 20, 0);
        ASSERT_GE(all, 2);
        for (const std::int64_t result : {std::int64_t{-EIO}, std::int64_t{0}})
            for (int good : {0, all / 2, all - 1}) EXPECT_EQ(reads_with(good, result), -1) << good;
    }
}

TEST_F(StreamingEngram, APassThatIsGivenUpLeavesTheStoreInOrder) {
    auto store = streaming(*gguf_, 4000, std::make_unique<test::FaultyQueue>());
    KvState state = new_state(*gguf_);
    std::mt19937 random(9);
    for (int round = 0; round < 5; ++round) {
        const auto lost = tokens(random, 200, 8000), text = tokens(random, 20, 8000);
        Batch given_up, batch;
        given_up.add(state, lost, RowsKind::prompt);
        store.begin_pass(given_up);
        batch.add(state, text, RowsKind::decode);
        EXPECT_EQ(pass(store, *gguf_, batch), mapped(*gguf_, batch));
    }
}

TEST_F(StreamingEngram, AFileThatIsCutOffIsAnError) {
    const auto path = folder() / "cut.gguf";
    std::filesystem::copy_file(gguf_path(), path);
    const auto model = Model::load(path);
    auto store = streaming(*model, 0, make_read_queue());
    KvState state = new_state(*model);
    const std::vector<std::int32_t> text = {5, 6, 7};
    Batch batch;
    batch.add(state, text, RowsKind::decode);
    std::filesystem::resize_file(path, 4096);
    try {
        pass(store, *model, batch);
        ADD_FAILURE() << "no Error was thrown";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), AllOf(HasSubstr(path.string()), HasSubstr("truncated"), HasSubstr("Engram")));
    }
    std::filesystem::copy_file(gguf_path(), path, std::filesystem::copy_options::overwrite_existing);
    EXPECT_EQ(pass(store, *model, batch), mapped(*gguf_, batch));
}

TEST(EngramBudget, IsASizeAShareOrAWord) {
    constexpr std::uint64_t kTables = 1'000'000;
    EXPECT_EQ(engram_budget("all", kTables, "x"), std::nullopt);
    EXPECT_EQ(engram_budget("off", kTables, "x"), 0u);
    EXPECT_EQ(engram_budget("1%", kTables, "x"), 10'000u);
    EXPECT_EQ(engram_budget("2kB", kTables, "x"), 2000u);
    EXPECT_EQ(engram_budget("100%", kTables, "x"), std::nullopt);
    EXPECT_EQ(engram_budget("1GB", kTables, "x"), std::nullopt);  // they fit
    for (const char* wrong : {"", "none", "-1%", "101%", "0", "5 apples", "%"}) {
        try {
            engram_budget(wrong, kTables, "--engram-cache");
            ADD_FAILURE() << wrong;
        } catch (const Error& e) {
            EXPECT_THAT(e.what(), HasSubstr("--engram-cache \""));
        }
    }
}

}  // namespace
}  // namespace cachalot

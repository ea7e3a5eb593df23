// Disks that fail or stall, files that are cut off, passes and answers that are given up: an Error where one
// is due, and afterwards the bits of an engine that nothing happened to.
#include <chrono>
#include <thread>

#include "engine/streaming_test.h"

namespace cachalot {
namespace {

using test::evaluate;
using test::Golden;
using test::kAnswer;
using test::kPrompt;
using test::small_options;
using test::Streaming;
using test::streaming;
using testing::AllOf;
using testing::HasSubstr;

TEST_F(Streaming, AnExpertThatCannotBeReadFailsThePassAndNothingElse) {
    Engine resident(test::nano(), small_options());
    const auto expected = evaluate(resident, ids);
    for (std::int64_t result : {std::int64_t(-EIO), std::int64_t(0)}) {
        auto queue = std::make_unique<test::FaultyQueue>();
        auto* disk = queue.get();
        Engine engine = streaming(test::nano(), 20, std::move(queue));
        EXPECT_EQ(evaluate(engine, ids), expected);
        for (int when : {0, 40, 200}) {
            int left = when;
            disk->fault = [&](const QueuedRead&) -> std::optional<std::int64_t> {
                if (left-- > 0) return {};
                return result;
            };
            try {
                evaluate(engine, ids);
                ADD_FAILURE() << "no Error was thrown";
            } catch (const Error& e) {
                EXPECT_THAT(e.what(), AllOf(HasSubstr("nano.gguf"), HasSubstr("offset"), HasSubstr("layer "),
                                            HasSubstr("expert "),
                                            HasSubstr(result == 0 ? "only 0 bytes" : "Input/output error")));
            }
            disk->fault = {};
            EXPECT_EQ(evaluate(engine, ids), expected) << when;
        }
    }
}

TEST_F(Streaming, ADiskThatStallsIsWaitedFor) {
    Engine resident(test::nano(), small_options());
    auto queue = std::make_unique<test::FaultyQueue>();
    int reads = 0;
    queue->fault = [&](const QueuedRead&) -> std::optional<std::int64_t> {
        if (++reads == 100) std::this_thread::sleep_for(std::chrono::milliseconds(500));
        return {};
    };
    Engine engine = streaming(test::nano(), 20, std::move(queue));
    EXPECT_EQ(evaluate(engine, ids), evaluate(resident, ids));
    const auto stats = engine.expert_stats();
    EXPECT_GE(stats->prompt.wait_seconds + stats->decode.wait_seconds, 0.5);
}

// The engine would also touch mapped weights, and nothing can be done about those; the store alone does not.
TEST_F(Streaming, AFileThatIsCutOffWhileItIsOpenIsAnErrorUntilItIsWhole) {
    const auto path = folder.path() / "nano.gguf";
    std::filesystem::copy_file(test::kNanoPath, path);
    const auto size = std::filesystem::file_size(path);
    const auto model = Model::load(path);
    for (bool uring : {false, true}) {
        StreamingExpertStore store(*model, 6, uring ? make_read_queue() : make_thread_queue(2));
        const std::vector<std::int32_t> experts = {1, 2, 3, 9}, rows(4, 1);
        const ExpertWeights* weights[4];
        auto read_all = [&](int layer) {  // whether they are those of the model
            auto& supply = store.layer(layer);
            supply.request(experts, rows);
            for (std::size_t left = experts.size(); left > 0;) {
                left -= supply.next(weights);
                for (std::size_t i = 0; i < experts.size(); ++i) {
                    if (!weights[i]) continue;
                    const Matrix& should = test::nano()
                                               ->weights.layers[static_cast<std::size_t>(layer)]
                                               .experts[static_cast<std::size_t>(experts[i])]
                                               .down;
                    EXPECT_EQ(std::memcmp(weights[i]->down.data, should.data,
                                          static_cast<std::size_t>(should.bytes())),
                              0);
                }
            }
        };
        test::begin_pass(store, ids[0]);
        read_all(3);
        std::filesystem::resize_file(path, 4096);
        for (int layer : {4, 5}) {
            try {
                read_all(layer);
                ADD_FAILURE() << "no Error was thrown";
            } catch (const Error& e) {
                EXPECT_THAT(e.what(), AllOf(HasSubstr(path.string()), HasSubstr("truncated"),
                                            HasSubstr(fmt::format("layer {}", layer))));
            }
        }
        std::filesystem::copy_file(test::kNanoPath, path, std::filesystem::copy_options::overwrite_existing);
        ASSERT_EQ(std::filesystem::file_size(path), size);
        for (int layer : {3, 4, 5}) read_all(layer);
    }
}

// Mapped weights, with and without a cache of experts.
TEST_F(Streaming, AFileThatWasCutOffIsAnErrorBeforeAPass) {
    const auto path = folder.path() / "cut.gguf";
    std::filesystem::copy_file(test::kNanoPath, path);
    for (bool cached : {false, true}) {
        EngineOptions options = small_options();
        if (cached) options.expert_cache = ExpertBudget("25%", "test");
        Engine engine(Model::load(path), options);
        auto state = engine.new_state();
        engine.prefill(state, std::span(ids).first(5));
        std::filesystem::resize_file(path, 4096);
        try {
            engine.step(state, std::span(ids).subspan(5, 1), RowsKind::decode);
            ADD_FAILURE() << "no Error was thrown";
        } catch (const Error& e) {
            EXPECT_THAT(e.what(), AllOf(HasSubstr(path.string()), HasSubstr("truncated")));
        }
        // Whole again it is still a file that has changed while in use: nobody knows what else was changed.
        std::filesystem::copy_file(test::kNanoPath, path, std::filesystem::copy_options::overwrite_existing);
        EXPECT_THROW(engine.step(state, std::span(ids).subspan(5, 1), RowsKind::decode), Error);
        EXPECT_EQ(state.length(), 5);
    }
}

TEST_F(Streaming, ASequenceGoesOnAfterAFailedStepButNotAfterAFailedChunk) {
    Engine resident(test::nano(), small_options());
    const auto expected = evaluate(resident, ids);
    const auto vocab = static_cast<std::size_t>(resident.model().config.vocab_size);
    EngineOptions options = small_options();
    options.chunk = 200;
    auto queue = std::make_unique<test::FaultyQueue>();
    auto* disk = queue.get();
    Engine engine = streaming(test::nano(), 8, std::move(queue), options);
    auto state = engine.new_state();
    engine.prefill(state, std::span(ids).first(kPrompt));
    int left = 30;
    disk->fault = [&](const QueuedRead&) -> std::optional<std::int64_t> {
        if (left-- > 0) return {};
        return -EIO;
    };
    EXPECT_THROW(engine.step(state, std::span(ids).subspan(kPrompt, 1), RowsKind::decode), Error);
    disk->fault = {};
    EXPECT_EQ(state.length(), kPrompt);
    EXPECT_TRUE(state.intact());
    for (std::size_t i = kPrompt; i < kPrompt + kAnswer; ++i) {
        const auto logits = engine.step(state, std::span(ids).subspan(i, 1), RowsKind::decode);
        EXPECT_EQ(std::vector<float>(logits.begin(), logits.end()),
                  std::vector<float>(expected.begin() + static_cast<std::ptrdiff_t>(i * vocab),
                                     expected.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocab)));
    }
    auto saved = state.checkpoint();
    left = 30;
    disk->fault = [&](const QueuedRead&) -> std::optional<std::int64_t> {
        if (left-- > 0) return {};
        return -EIO;
    };
    EXPECT_THROW(engine.prefill(state, std::span(ids).subspan(kPrompt + kAnswer, 150)), Error);
    disk->fault = {};
    EXPECT_FALSE(state.intact());
    EXPECT_THROW(engine.step(state, std::span(ids).subspan(kPrompt + kAnswer, 1), RowsKind::decode), Error);
    state.restore(saved);
    EXPECT_NO_THROW(engine.step(state, std::span(ids).subspan(kPrompt + kAnswer, 1), RowsKind::decode));
}

// Whatever ends a pass half way, reads that are under way come to rest and are of use later.
TEST_F(Streaming, APassThatIsGivenUpLeavesTheCacheInOrder) {
    Engine resident(test::nano(), small_options());
    const auto expected = evaluate(resident, ids);
    Engine engine = streaming(test::nano(), 20, std::make_unique<test::FaultyQueue>());
    struct Enough {};
    for (int last : {0, 3, 7}) {
        engine.observe_layers([&](const LayerView& view) {
            if (view.layer == last) throw Enough();
        });
        auto state = engine.new_state();
        EXPECT_THROW(engine.prefill(state, std::span(ids).first(12)), Enough);
        engine.observe_layers({});
        EXPECT_EQ(evaluate(engine, ids), expected);
    }
    // Given up within a layer: asked for, and never fetched.
    StreamingExpertStore store(*test::nano(), 6, std::make_unique<test::FaultyQueue>());
    test::begin_pass(store, ids[0]);
    const std::int32_t experts[] = {1, 2, 3, 9}, rows[] = {1, 1, 1, 1};
    for (int round = 0; round < 3; ++round)
        for (int layer = 0; layer < 8; ++layer) {
            auto& supply = store.layer(layer);
            supply.request(experts, rows);
            const ExpertWeights* weights[4];
            if (layer % 2) supply.next(weights);
        }
    EXPECT_EQ(store.stats()->decode.lookups, 3u * 8 * 4);
}

TEST_F(Streaming, CancelledAnswersLeaveTheNextOneUntouched) {
    Engine resident(test::nano(), small_options());
    Engine engine = streaming(test::nano(), 20, make_read_queue());
    auto answer = [&](Engine& e, int most) {
        GenerationOptions options;
        options.sampling.temperature = 0;
        options.max_tokens = 20;
        Generation generation(e, Golden::ids("capital.ids"), options);
        auto state = e.new_state();
        int tokens = 0;
        GenerationCallbacks callbacks;
        callbacks.cancelled = [&] { return tokens >= most; };
        callbacks.on_token = [&] { ++tokens; };
        run(e, state, generation, callbacks);
        return generation.tokens();
    };
    const auto expected = answer(resident, 1000);
    EXPECT_LT(answer(engine, 5).size(), expected.size());
    EXPECT_LT(answer(engine, 0).size(), expected.size());
    EXPECT_EQ(answer(engine, 1000), expected);
}

}  // namespace
}  // namespace cachalot

// An engine that holds a part of the experts gives the bits of one that holds all, whatever the disk does.
#include <chrono>
#include <map>
#include <sstream>
#include <thread>

#include "engine/streaming_test.h"
#include "support/each_model.h"
#include "support/recorded_log.h"

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

TEST_F(Streaming, GivesTheSameBitsAtAnyBudget) {
    Engine resident(test::nano(), small_options());
    const auto expected = evaluate(resident, ids);
    EXPECT_FALSE(resident.expert_stats());
    for (int slots : {1, 16, 100, 1000}) {
        Engine engine = streaming(test::nano(), slots, make_read_queue());
        EXPECT_EQ(evaluate(engine, ids), expected) << slots;
        const auto stats = engine.expert_stats();
        EXPECT_EQ(stats->slots + stats->ahead, std::min(slots, 256));
        EXPECT_EQ(stats->ahead, slots < 256 ? slots / 16 : 0);
        EXPECT_EQ(stats->experts, 256);
        EXPECT_EQ(stats->prompt.tokens, kPrompt);
        EXPECT_EQ(stats->decode.tokens, kAnswer);
        EXPECT_GT(stats->prompt.bytes_read, 0u);
    }
    for (int slots : {5, 40}) {
        Engine threads = streaming(test::nano(), slots, make_thread_queue(3));
        EXPECT_EQ(evaluate(threads, ids), expected) << slots;
        Engine faulty = streaming(test::nano(), slots, std::make_unique<test::FaultyQueue>());
        EXPECT_EQ(evaluate(faulty, ids), expected) << slots;
    }
}

TEST_F(Streaming, ExactModeAndOtherLayoutsGiveTheSameBitsToo) {
    EngineOptions exact = small_options();
    exact.precision = Precision::exact;
    Engine resident(test::nano(), exact);
    Engine engine = streaming(test::nano(), 20, make_read_queue(), exact);
    EXPECT_EQ(evaluate(engine, ids), evaluate(resident, ids));
    // Scales in tensors of their own, in several files.
    test::TinyRelease make(folder.path());
    auto release = Model::load(folder.path());
    Engine resident_release(release, small_options());
    Engine streaming_release = streaming(release, 3, make_read_queue());
    EXPECT_EQ(evaluate(streaming_release, ids), evaluate(resident_release, ids));
}

TEST_F(Streaming, OtherArchitecturesToo) {
    for (const char* name : {"nano41", "tiny41"}) {
        const auto model = test::model_named(name);
        Engine resident(model, small_options());
        const auto expected = evaluate(resident, ids);
        for (int slots : {1, 7, 50}) {
            Engine engine = streaming(model, slots, make_read_queue());
            EXPECT_EQ(evaluate(engine, ids), expected) << name << ' ' << slots;
            EXPECT_GT(engine.expert_stats()->prompt.bytes_read, 0u);
        }
    }
}

// Layers whose router is a table are read before they ask; what was read for nothing is not taken for
// anything else.
TEST_F(Streaming, ReadsWhatIsKnownBeforeItIsAskedFor) {
    Engine resident(test::nano(), small_options());
    const auto expected = evaluate(resident, ids);
    const auto& c = test::nano()->config;
    ASSERT_GT(c.hash_layers(), 0);
    for (int slots : {40, 130, 255}) {
        Engine engine = streaming(test::nano(), slots, make_thread_queue(2));
        EXPECT_EQ(evaluate(engine, ids), expected) << slots;
        const auto s = *engine.expert_stats();
        const auto answers = s.decode;
        EXPECT_GT(s.ahead, 0);
        EXPECT_GT(s.prompt.ahead, 0u);
        EXPECT_LE(answers.hits + answers.ahead, answers.lookups);
        // All that the tables name is known; there is a place for at least so many at a time.
        StreamingExpertStore store(*test::nano(), slots, make_thread_queue(2));
        test::begin_pass(store, ids[0]);
        const auto& table = test::nano()->weights.layers[0].table;
        std::vector<std::int32_t> experts(table.begin() + ids[0] * c.experts_per_token,
                                          table.begin() + (ids[0] + 1) * c.experts_per_token);
        std::sort(experts.begin(), experts.end());
        const std::vector<std::int32_t> rows(experts.size(), 1);
        store.layer(0).request(experts, rows);
        EXPECT_EQ(store.stats()->decode.ahead,
                  std::min<std::size_t>(experts.size(), static_cast<std::size_t>(s.ahead)));
    }
}

// What drafted tokens need is read before they are evaluated, when there is nothing more urgent; it counts as
// known when they are, and is nothing to wait for when they are not.
TEST_F(Streaming, ReadsWhatDraftedTokensNeed) {
    const auto& c = test::nano()->config;
    const auto& table = test::nano()->weights.layers[0].table;
    std::vector<std::int32_t> experts(table.begin() + ids[3] * c.experts_per_token,
                                      table.begin() + (ids[3] + 1) * c.experts_per_token);
    std::sort(experts.begin(), experts.end());
    const std::vector<std::int32_t> rows(experts.size(), 1);
    for (const bool right : {true, false}) {
        StreamingExpertStore store(*test::nano(), 200, make_thread_queue(2));
        store.expect(std::span(ids).subspan(3, 1));
        const auto read = store.stats()->decode.bytes_read;
        EXPECT_GT(read, 0u);
        store.expect(std::span(ids).subspan(3, 1));
        EXPECT_EQ(store.stats()->decode.bytes_read, read);  // is there, or on its way
        if (!right) store.expect({});                       // nothing of it is wanted any more
        test::begin_pass(store, ids[right ? 3 : 4]);
        store.layer(0).request(experts, rows);
        if (right) {
            EXPECT_EQ(store.stats()->decode.bytes_read, read);
            EXPECT_EQ(store.stats()->decode.ahead, experts.size());
        }
    }
    // Where nothing is read ahead nothing happens.
    StreamingExpertStore all(*test::nano(), 256, make_thread_queue(2));
    all.expect(ids);
    EXPECT_EQ(all.stats()->decode.bytes_read, 0u);
}

// Answers are the same, whatever was expected.
TEST_F(Streaming, ExpectsAnything) {
    Engine resident(test::nano(), small_options());
    const auto expected = evaluate(resident, ids);
    for (int slots : {16, 40, 130}) {
        Engine engine = streaming(test::nano(), slots, std::make_unique<test::FaultyQueue>());
        auto state = engine.new_state();
        std::vector<float> logits;
        for (std::size_t i = 0; i < kPrompt + kAnswer; ++i) {
            engine.expect({ids[i], ids[(i * 7) % 40], -1, 1 << 30});
            if (i % 3 == 0) engine.expect({ids[i + 1]});
            const auto row = test::all_logits(engine, state, std::span(ids).subspan(i, 1), 1);
            logits.insert(logits.end(), row.begin(), row.end());
        }
        EXPECT_EQ(logits, expected) << slots;
    }
}

TEST_F(Streaming, ALongPassReadsTheNextLayerMeanwhile) {
    EngineOptions options = small_options();
    options.chunk = 100;
    const auto prompt = std::span(ids).first(100);
    auto last = [&](Engine& engine) {
        auto state = engine.new_state();
        const auto logits = engine.prefill(state, prompt);
        return std::vector<float>(logits.begin(), logits.end());
    };
    Engine resident(test::nano(), options);
    const auto expected = last(resident);
    for (int slots : {16, 64, 200}) {
        for (bool faulty : {false, true}) {
            std::unique_ptr<ReadQueue> queue = make_thread_queue(2);
            if (faulty) queue = std::make_unique<test::FaultyQueue>();
            Engine engine = streaming(test::nano(), slots, std::move(queue), options);
            EXPECT_EQ(last(engine), expected) << slots;
            // In every layer and at every wave what there is room for was there or under way.
            EXPECT_GE(engine.expert_stats()->prompt.ahead, 8u * static_cast<unsigned>(slots / 16));
        }
    }
}

TEST_F(Streaming, LogsThatItCannotRememberWhatWasUsed) {
    const auto log = std::make_shared<test::RecordedLog>();
    HeatFile heat{{test::nano()->config.layers, test::nano()->config.experts, {}}, "/dev/null/nano.heat"};
    {
        StreamingExpertStore store(*test::nano(), 20, make_thread_queue(2), heat, {}, Log(log));
        test::begin_pass(store, 7);
    }
    EXPECT_THAT(log->lines(), testing::Contains(testing::AllOf(
                                  testing::HasSubstr("warn: which experts are used is not remembered"),
                                  testing::HasSubstr("/dev/null/nano.heat"))));
}

// Whatever of it has arrived when the first token asks, and however little room there is.
TEST_F(Streaming, StartsWithWhatEarlierSessionsUsed) {
    Engine resident(test::nano(), small_options());
    const auto expected = evaluate(resident, ids);
    const auto path = folder.path() / "nano.heat";
    {
        Engine first = streaming(test::nano(), 100, make_read_queue(), small_options(),
                                 open_heat_file(*test::nano(), path));
        EXPECT_EQ(first.expert_stats()->warming, 0);
        EXPECT_EQ(evaluate(first, ids), expected);
    }
    const auto heat = open_heat_file(*test::nano(), path);
    EXPECT_NEAR(heat.heat.tokens(), kPrompt + kAnswer, 0.2);
    const auto hottest = heat.heat.hottest();
    ASSERT_GT(hottest.size(), 40u);
    for (int slots : {1, 5, 40, 256}) {
        for (const char* queue : {"best", "faulty"}) {
            std::unique_ptr<ReadQueue> disk = std::make_unique<test::FaultyQueue>();
            if (queue == std::string("best")) disk = make_read_queue();
            auto other = heat;
            other.path = folder.path() / "other.heat";
            Engine engine = streaming(test::nano(), slots, std::move(disk), small_options(), other);
            const auto s = *engine.expert_stats();
            EXPECT_EQ(s.warming, std::min(s.slots, static_cast<int>(hottest.size())));
            EXPECT_EQ(evaluate(engine, ids), expected) << slots << queue;
            if (slots == 256) {  // all that is needed was known
                EXPECT_EQ(engine.expert_stats()->prompt.hits + engine.expert_stats()->prompt.ahead,
                          engine.expert_stats()->prompt.lookups);
            }
        }
    }
    // None of them can be read. That is told if one is asked for meanwhile; then it is read again.
    auto queue = std::make_unique<test::FaultyQueue>();
    auto* disk = queue.get();
    disk->fault = [](const QueuedRead& read) -> std::optional<std::int64_t> {
        if (read.urgency == ReadClass::idle) return -EIO;
        return {};
    };
    Engine engine = streaming(test::nano(), 40, std::move(queue), small_options(), heat);
    std::vector<float> logits;
    for (int attempt = 0; logits.empty() && attempt <= 40; ++attempt) {
        try {
            logits = evaluate(engine, ids);
        } catch (const Error&) {
        }
    }
    EXPECT_EQ(logits, expected);
}

TEST_F(Streaming, ReadsSplitModels) {
    const Gguf nano(test::kNanoPath);
    for (std::size_t part = 0; part < 2; ++part) {
        const auto path = folder.path() / fmt::format("x-{:05}-of-00002.gguf", part + 1);
        GgufWriter writer(path);
        if (part == 0)
            for (const auto& value : nano.metadata().values())
                if (!GgufWriter::is_container_key(value.key)) writer.copy(value);
        // The writer does not write parts; keys of the same length take the place of those that make one.
        writer.set<std::uint16_t>("SPLIT.no", static_cast<std::uint16_t>(part));
        writer.set<std::uint16_t>("SPLIT.count", 2);
        writer.set<std::int32_t>("SPLIT.tensors.count", static_cast<std::int32_t>(nano.tensors().size()));
        const auto half = nano.tensors().size() / 2;
        const auto tensors = part == 0 ? nano.tensors().first(half) : nano.tensors().subspan(half);
        for (const auto& t : tensors) writer.declare(t.view.name, t.view.dtype, t.view.shape);
        for (const auto& t : tensors) writer.append(t.view.name, t.view.data);
        writer.finish();
        std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
        std::string head(4 << 20, ' ');
        file.read(head.data(), static_cast<std::streamsize>(head.size()));
        file.clear();
        for (std::size_t at = 0; (at = head.find("SPLIT.", at)) != std::string::npos; ++at) {
            file.seekp(static_cast<std::streamoff>(at));
            file.write("split.", 6);
        }
    }
    auto split = Model::load(folder.path() / "x-00001-of-00002.gguf");
    ASSERT_EQ(split->checkpoint->files().size(), 2u);
    Engine resident(test::nano(), small_options());
    Engine engine = streaming(split, 30, make_read_queue());
    EXPECT_EQ(evaluate(engine, ids), evaluate(resident, ids));
}

// What the engine's cache did is what the simulator's does with the trace that the engine wrote.
TEST_F(Streaming, CountersAreThoseOfTheSimulator) {
    for (int slots : {1, 12, 40}) {
        EngineOptions options = small_options();
        options.route_trace = (folder.path() / "trace.route").string();
        auto store = std::make_unique<StreamingExpertStore>(*test::nano(), slots);
        auto* cache = store.get();
        Engine engine(test::nano(), options, std::move(store));
        auto a = engine.new_state(), b = engine.new_state();
        auto other = Golden::ids("capital.ids");
        engine.prefill(a, std::span(ids).first(20));
        for (std::size_t i = 20; i < 28; ++i) engine.step(a, std::span(ids).subspan(i, 1), RowsKind::decode);
        Batch mixed;
        mixed.add(a, std::span(ids).subspan(28, 1), RowsKind::decode);
        mixed.add(b, std::span(other).first(9), RowsKind::prompt);
        engine.step(mixed);
        for (std::size_t i = 0; i < 5; ++i) {
            Batch both;
            both.add(a, std::span(ids).subspan(29 + i, 1), RowsKind::decode);
            both.add(b, std::span(ids).subspan(i, 1), RowsKind::decode);
            engine.step(both);
        }
        const RouteTrace trace = read_route_trace(options.route_trace);
        EXPECT_EQ(trace.tokens.size(), 20u + 8 + 10 + 10);
        EXPECT_EQ(trace.tokens[0].id, ids[0]);
        EXPECT_TRUE(trace.tokens[0].prompt && !trace.tokens[0].same_pass && trace.tokens[1].same_pass);
        EXPECT_TRUE(!trace.tokens[20].prompt && !trace.tokens[20].same_pass);
        EXPECT_NE(trace.tokens.back().sequence, trace.tokens[0].sequence);
        const auto stats = *cache->stats();
        const Replay expected = replay(trace, stats.slots, kShippedPolicy);
        auto counters = [](const ExpertCacheStats::Traffic& t) {
            return ExpertCache::Counters{t.lookups, t.hits, t.lookups - t.hits};
        };
        EXPECT_EQ(counters(stats.decode), expected.decode) << slots;
        EXPECT_EQ(counters(stats.prompt), expected.prompt) << slots;
        EXPECT_EQ(cache->evictions(), expected.evictions) << slots;
        if (slots == 40) {
            EXPECT_GT(expected.evictions, 0u);
            EXPECT_GT(expected.decode.hits, 0u);
        }
        // Every expert takes a whole slot in the trace; parts may begin in the middle of a block and need one
        // more.
        std::uint64_t bytes = expected.prompt_bytes;
        for (const auto& pass : expected.passes) bytes += pass.bytes;
        bytes += static_cast<std::uint64_t>(stats.ahead) * trace.tokens.size() * stats.slot_bytes / 8;
        const auto read = stats.decode.bytes_read + stats.prompt.bytes_read;
        EXPECT_LE(read, bytes);
        EXPECT_GT(static_cast<double>(read), 0.9 * static_cast<double>(bytes));
    }
}

TEST_F(Streaming, TracesAreTheSameWithoutACache) {
    std::string traces[2];
    for (int cached : {0, 1}) {
        EngineOptions options = small_options();
        options.route_trace = (folder.path() / "trace.route").string();
        Engine engine =
            cached ? streaming(test::nano(), 20, make_read_queue(), options) : Engine(test::nano(), options);
        evaluate(engine, ids);
        std::ostringstream text;
        text << std::ifstream(options.route_trace, std::ios::binary).rdbuf();
        traces[cached] = text.str();
    }
    EXPECT_GT(traces[0].size(), 1000u);
    EXPECT_EQ(traces[0], traces[1]);
}

#if defined(__linux__)
// Resident bytes of the mapping that holds an address.
std::int64_t resident_bytes(const void* address) {
    std::ifstream maps("/proc/self/smaps");
    std::string line;
    bool inside = false;
    while (std::getline(maps, line)) {
        unsigned long first = 0, last = 0;
        long kilobytes = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2) {
            const auto a = reinterpret_cast<std::uintptr_t>(address);
            inside = a >= first && a < last;
        }
        if (inside && std::sscanf(line.c_str(), "Rss: %ld kB", &kilobytes) == 1) return kilobytes * 1024;
    }
    return -1;
}

TEST_F(Streaming, MappedExpertsTakeNoMemory) {
    // A mapping that nobody has touched, of a copy: the system may have the file itself in pages that are so
    // large that one byte brings two megabytes.
    const auto copy = folder.path() / "nano.gguf";
    std::filesystem::copy_file(test::kNanoPath, copy);
    auto model = Model::load(copy.string());
    const ExpertRecords records(*model);
    const auto& file = model->checkpoint->files()[0];
    const auto experts = static_cast<std::int64_t>(records.header().all_experts_bytes());
    Engine engine = streaming(model, 30, make_read_queue());
    evaluate(engine, ids);
    const auto resident = resident_bytes(file.bytes().data()), size = static_cast<std::int64_t>(file.size());
    ASSERT_GE(resident, 0);
    // A fault brings the pages around it, and experts are most of what there is between two other tensors.
    EXPECT_LT(resident, size - experts * 3 / 4);
    const auto stats = engine.expert_stats();
    EXPECT_LE(
        resident_bytes(file.bytes().data()) + stats->slots * static_cast<std::int64_t>(stats->slot_bytes),
        size);
}
#endif

TEST_F(Streaming, BudgetsAreSizesOrShares) {
    const auto header = ExpertRecords(*test::nano()).header();
    const auto slot = header.largest_expert();
    EXPECT_EQ(slot % 4096, 0u);
    EXPECT_EQ(ExpertBudget("25%", "x").slots(header), 64);
    EXPECT_EQ(ExpertBudget(fmt::format("{}", 10 * slot + slot / 2), "x").slots(header), 10);
    EXPECT_EQ(ExpertBudget("1TB", "x").slots(header), 256);
    for (const char* bad : {"0%", "101%", "x%", "%", "8 parsecs", "-1GB", "", "0"})
        EXPECT_THROW(ExpertBudget(bad, "x"), Error) << bad;
    EXPECT_THROW(ExpertBudget("100", "x").slots(header), Error);
    EngineOptions options = small_options();
    options.expert_cache.emplace("10%", "--expert-cache");
    Engine engine(test::nano(), options);
    EXPECT_EQ(engine.expert_stats()->slots + engine.expert_stats()->ahead, 26);
}

}  // namespace
}  // namespace cachalot

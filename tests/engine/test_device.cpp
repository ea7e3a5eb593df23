// The same engine on a device whose memory the host cannot see, with streams that run late and passes that
// are replayed.
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/model_drafter.h"
#include "engine/state_fingerprint.h"
#include "state/kv_codec.h"
#include "support/each_model.h"
#include "support/fake_device.h"

namespace cachalot {
namespace {

using test::FakeDevice;
using test::Golden;

std::vector<float> copy(std::span<const float> v) { return {v.begin(), v.end()}; }

EngineOptions exact(std::shared_ptr<Device> device = nullptr) {
    EngineOptions options{2, Precision::exact};
    options.device = std::move(device);
    return options;
}

std::vector<float> prompt(Engine& engine, KvState& state, std::span<const std::int32_t> tokens) {
    return copy(engine.prefill(state, tokens));
}

class OtherDevices : public testing::Test, public test::ForEachModel {};
CACHALOT_FOR_MODELS(OtherDevices, "nano", "nano_mtp", "nano41", "tiny41");

TEST_P(OtherDevices, GiveTheSameBits) {
    const auto ids = Golden::ids("prefix.ids");
    const auto other = Golden::ids("prose.ids");
    Engine host(model(), exact());
    auto device = std::make_shared<FakeDevice>(1);
    Engine engine(model(), exact(device));
    auto a = host.new_state(), b = host.new_state(), c = engine.new_state(), d = engine.new_state();
    // A chunk that does not fit into the rings, one that does, single tokens, and two sequences in one pass.
    for (std::size_t at = 0; std::size_t n : {200, 30, 1, 1, 26}) {
        const auto part = std::span(ids).subspan(at, n);
        EXPECT_EQ(prompt(engine, c, part), prompt(host, a, part)) << at;
        at += n;
    }
    EXPECT_EQ(prompt(engine, d, std::span(other).first(90)), prompt(host, b, std::span(other).first(90)));
    auto both = [&](Engine& e, KvState& first, KvState& second) {
        Batch batch;
        batch.add(first, std::span(ids).subspan(258, 3), RowsKind::verify, Batch::Logits::all);
        batch.add(second, std::span(other).subspan(90, 1), RowsKind::decode);
        return copy(e.step(batch).logits);
    };
    EXPECT_EQ(both(engine, c, d), both(host, a, b));
    EXPECT_GT(device->works(), 100);
}

// What drafters remember of long passes and of short ones, and several of their passes one after the other.
TEST_P(OtherDevices, DraftTheSame) {
    if (!model()->draft) return;
    const auto ids = Golden::ids("prefix.ids");
    EngineOptions on_host = exact(), elsewhere = exact(std::make_shared<FakeDevice>(3));
    on_host.drafter = elsewhere.drafter = true;
    const auto drafts = [&](const EngineOptions& options) {
        Engine engine(model(), options);
        const auto drafter = make_model_drafter(engine);
        auto state = engine.new_state();
        std::vector<ModelDrafter::Draft> all;
        for (std::size_t at = 0; std::size_t n : {210, 1, 3, 40}) {
            engine.step(state, std::span(ids).subspan(at, n), RowsKind::verify, Batch::Logits::all);
            at += n;
            const ModelDrafter::Request request{&state, ids[at], drafter->block_size(),
                                                [](std::span<float> logits) { return test::argmax(logits); }};
            all.push_back(drafter->propose({&request, 1}).front());
            state.rollback(state.length() - 1);
            --at;
        }
        return all;
    };
    const auto there = drafts(elsewhere), here = drafts(on_host);
    for (std::size_t i = 0; i < here.size(); ++i) {
        EXPECT_EQ(there[i].tokens, here[i].tokens);
        EXPECT_EQ(there[i].confidences, here[i].confidences);
        EXPECT_FALSE(here[i].tokens.empty());
    }
}

TEST_P(OtherDevices, StatesAreForkedSavedRestoredAndTakenBack) {
    const auto ids = Golden::ids("prefix.ids");
    Engine host(model(), exact());
    Engine engine(model(), exact(std::make_shared<FakeDevice>(2)));
    auto expected_state = host.new_state();
    host.prefill(expected_state, std::span(ids).first(300));
    const auto rest = std::span(ids).subspan(300, 40);
    const auto expected = prompt(host, expected_state, rest);

    auto state = engine.new_state();
    engine.prefill(state, std::span(ids).first(300));
    auto fork = state.fork();
    const auto saved = state.checkpoint();
    const KvCodec codec(engine.kv_pool());
    std::vector<std::byte> rows(static_cast<std::size_t>(codec.rows_bytes(0, 300)));
    codec.write_rows(saved, 0, std::span(ids).first(300), rows);

    prompt(engine, state, std::span(ids).subspan(10, 50));  // other rows in the same places
    state.rollback(300);
    EXPECT_EQ(prompt(engine, state, rest), expected);
    EXPECT_EQ(prompt(engine, fork, rest), expected);
    auto restored = engine.new_state();
    restored.restore(saved);
    EXPECT_EQ(prompt(engine, restored, rest), expected);

    auto read = codec.beginning(nullptr, {});
    codec.make_room(read, 300);
    ASSERT_TRUE(codec.read_rows(read, std::span(ids).first(300), rows));
    read.rings = saved.rings;
    restored.restore(read);
    EXPECT_EQ(prompt(engine, restored, rest), expected);
}

// Layers that are divided among two engines, which stand for two processes: what flows between them are the
// streams, and with delayed mixing the weights of the next mix.
void compare_parts(const std::shared_ptr<const Model>& model, std::initializer_list<int> cuts) {
    const auto ids = Golden::ids("prefix.ids");
    Engine whole(model, exact());
    const auto& config = whole.model().config;
    for (int cut : cuts) {
        auto options = exact();
        options.layers = layer_range(config, 0, cut);
        Engine lower(model, options);
        options.layers = layer_range(config, cut, config.layers);
        Engine upper(model, options);
        const Hash128 content{};  // states of different layers are never taken for each other
        EXPECT_NE(state_fingerprint(lower, content), state_fingerprint(upper, content));
        EXPECT_NE(state_fingerprint(lower, content), state_fingerprint(whole, content));
        EXPECT_EQ(lower.kv_pool()->layout().page_bytes() + upper.kv_pool()->layout().page_bytes(),
                  whole.kv_pool()->layout().page_bytes());
        auto state = whole.new_state(), below = lower.new_state(), above = upper.new_state();
        for (std::size_t at = 0; std::size_t n : {70, 1, 9}) {
            const auto tokens = std::span(ids).subspan(at, n);
            Batch first, second;
            first.add(below, tokens, RowsKind::prompt);
            const auto streams = lower.step(first).streams;
            ASSERT_EQ(streams.size(), n * static_cast<std::size_t>(boundary_floats(config)));
            second.add(above, tokens, RowsKind::prompt);
            second.set_streams(streams);
            EXPECT_EQ(copy(upper.step(second).logits), copy(whole.step(state, tokens, RowsKind::prompt)));
            at += n;
        }
    }
}

TEST(LayerRanges, TwoPartsOfAModelComputeWhatTheWholeComputes) {
    compare_parts(test::nano(), {1, 3, test::nano()->config.layers - 1});
    compare_parts(test::model_named("nano41"), {1, 2, 4, 6});
    compare_parts(test::model_named("tiny41"), {1, 3, 5});
}

TEST(LayerRanges, WhatCannotBeIsRefused) {
    const auto ids = Golden::ids("prefix.ids");
    const Config& config = test::nano()->config;
    auto options = exact();
    options.layers = layer_range(config, 2, config.layers);
    Engine upper(test::nano(), options);
    auto state = upper.new_state();
    EXPECT_THROW(upper.step(state, std::span(ids).first(3), RowsKind::prompt),
                 Error);  // there are no streams
    options.layers = LayerRange{0, config.layers + 1};
    EXPECT_THROW(Engine(test::nano(), options), Error);
    EXPECT_THROW(layer_range(config, 3, 3), Error);
    EXPECT_THROW(layer_range(config, -1, 3), Error);
    EXPECT_THROW(layer_range(config, 0, config.layers + 1), Error);
}

}  // namespace
}  // namespace cachalot

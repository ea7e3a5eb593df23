// What tests of streamed experts share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "engine/generation.h"
#include "experts/streaming_expert_store.h"
#include "file/gguf.h"
#include "file/gguf_writer.h"
#include "measure/cache_simulator.h"
#include "support/faulty_queue.h"
#include "support/nano.h"
#include "support/tiny_release.h"

namespace cachalot::test {

inline EngineOptions small_options() {
    EngineOptions options;
    options.threads = 2;
    options.chunk = 15;
    return options;
}

inline Engine streaming(std::shared_ptr<const Model> model, int slots, std::unique_ptr<ReadQueue> queue,
                        EngineOptions options = small_options(), std::optional<HeatFile> heat = {}) {
    auto store = std::make_unique<StreamingExpertStore>(*model, slots, std::move(queue), std::move(heat),
                                                        ExpertPacks(), options.log);
    return Engine(std::move(model), options, std::move(store));
}

// A prompt in two passes, and some tokens one by one; the logits of all. As few as can tell right from wrong:
// with sanitizers a token takes a tenth of a second.
inline constexpr std::size_t kPrompt = 18, kAnswer = 4;

// A pass of one token at the beginning of an answer.
inline void begin_pass(ExpertStore& store, std::int32_t token) {
    KvState state(std::make_shared<KvPool>(KvLayout(nano()->config, KvPrecision::f32), make_host_device()));
    Batch batch;
    batch.add(state, {&token, 1}, RowsKind::decode);
    store.begin_pass(batch);
}

inline std::vector<float> evaluate(Engine& engine, std::span<const std::int32_t> ids) {
    auto state = engine.new_state();
    auto logits = all_logits(engine, state, ids.first(kPrompt), 15);
    auto rest = all_logits(engine, state, ids.subspan(kPrompt, kAnswer), 1);
    logits.insert(logits.end(), rest.begin(), rest.end());
    return logits;
}

class Streaming : public testing::Test {
  protected:
    std::vector<std::int32_t> ids = Golden::ids("prefix.ids");
    TemporaryFolder folder;
};

}  // namespace cachalot::test

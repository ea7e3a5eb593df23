// A state from which drafted tokens were taken back is that of a sequence that never drafted, byte for byte.
#include <algorithm>
#include <map>

#include "engine/model_drafter.h"
#include "engine/scheduler_test.h"
#include "state/kv_codec.h"
#include "support/each_model.h"

namespace cachalot {
namespace {

using test::Tokens;

constexpr std::size_t kDrafted = 12;  // the most that a scheduler drafts

// All that is kept of a sequence with these tokens.
std::vector<std::byte> bytes_of(const Engine& engine, const KvState& state, const Tokens& tokens) {
    const KvCodec codec(engine.kv_pool());
    const auto saved = state.checkpoint();
    auto bytes = codec.no_bytes();
    bytes.resize(static_cast<std::size_t>(codec.rows_bytes(0, saved.length)));
    codec.write_rows(saved, 0, std::span(tokens).first(static_cast<std::size_t>(saved.length)), bytes);
    bytes.insert(bytes.end(), saved.rings.begin(), saved.rings.end());
    return {bytes.begin(), bytes.end()};
}

class DraftRollback : public test::SchedulerTest, public test::ForEachModel {
  protected:
    // Lengths before a draft whose rows reach or cross an edge: of a group of the weak compression, of a
    // window and a group of the strong one, of a page.
    static constexpr std::size_t kLengths[] = {3, 115, 116, 123, 127, 128, 243, 244, 251, 255, 256};
};

CACHALOT_FOR_MODELS(DraftRollback, "nano", "nano_mtp", "nano41", "tiny41");

TEST_P(DraftRollback, LeavesTheStateThatNeverDrafted) {
    for (auto precision : {Precision::exact, Precision::fast}) {
        EngineOptions options{2, precision};
        options.drafter = model()->draft != nullptr;
        Engine engine(model(), options);
        const auto drafter = options.drafter ? make_model_drafter(engine) : nullptr;
        const auto tokens = lengthy(256 + kDrafted + 1);
        // What is to come, one token at a time.
        std::vector<std::vector<std::byte>> expected = {{}};
        std::map<std::size_t, KvState> before;
        auto state = engine.new_state();
        for (std::size_t n = 0; n < tokens.size(); ++n) {
            if (std::ranges::find(kLengths, n) != std::end(kLengths)) before.emplace(n, state.fork());
            engine.step(state, std::span(tokens).subspan(n, 1), RowsKind::decode);
            expected.push_back(bytes_of(engine, state, tokens));
        }
        for (const auto& [length, at] : before)
            for (std::size_t accepted = 0; accepted <= kDrafted; ++accepted) {
                KvState drafting = at.fork();
                Tokens rows = test::part(tokens, length, 1 + kDrafted);
                for (std::size_t i = 1 + accepted; i < rows.size(); ++i) rows[i] = (rows[i] + 77) % 8000;
                const auto any = [&](std::span<float>) { return rows.back(); };
                const ModelDrafter::Request request{&drafting, rows.front(), 5, any};
                if (drafter && length > 0) drafter->propose({&request, 1});
                engine.step(drafting, rows, RowsKind::verify, Batch::Logits::all);
                const auto end = length + 1 + accepted;
                drafting.rollback(static_cast<std::int64_t>(end));
                ASSERT_TRUE(bytes_of(engine, drafting, tokens) == expected[end])
                    << length << " tokens, " << accepted << " accepted";
            }
    }
}

}  // namespace
}  // namespace cachalot

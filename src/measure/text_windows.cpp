#include "measure/text_windows.h"

#include <algorithm>

namespace cachalot {

std::vector<std::span<const std::int32_t>> text_windows(std::span<const std::int32_t> ids, std::size_t size) {
    std::vector<std::span<const std::int32_t>> windows;
    for (std::size_t begin = 0; begin + 1 < ids.size(); begin += size)
        windows.push_back(ids.subspan(begin, std::min(size, ids.size() - begin)));
    return windows;
}

void evaluate_window(Engine& engine, std::span<const std::int32_t> window, const UsePosition& use,
                     const WindowProgress& progress) {
    const auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
    const auto chunk = static_cast<std::size_t>(engine.options().chunk);
    auto state = engine.new_state();
    for (std::size_t first = 0; first < window.size(); first += chunk) {
        const auto part = window.subspan(first, std::min(chunk, window.size() - first));
        // [part, vocab]
        const auto logits = engine.step(state, part, RowsKind::prompt, Batch::Logits::all);
        for (std::size_t i = 0; i < part.size() && first + i + 1 < window.size(); ++i)
            use(first + i, logits.subspan(i * vocab, vocab));
        if (progress) progress(first + part.size());
    }
}

}  // namespace cachalot

// A text cut into windows, each evaluated from an empty context: how everything that is measured on text
// reads it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/engine.h"

namespace cachalot {

// Pieces of at most `size` tokens; a last one of a single token, after which nothing is known, is left out.
std::vector<std::span<const std::int32_t>> text_windows(std::span<const std::int32_t> ids, std::size_t size);

// The positions of a window whose next token is known.
inline std::size_t predictions(std::span<const std::int32_t> window) { return window.size() - 1; }

// Evaluates one window and calls use(i, logits [vocab]) for each position i that is followed by window[i +
// 1], in order. Calls progress(tokens done) after each pass.
using UsePosition = std::function<void(std::size_t position, std::span<const float> logits)>;
using WindowProgress = std::function<void(std::size_t done)>;
void evaluate_window(Engine& engine, std::span<const std::int32_t> window, const UsePosition& use,
                     const WindowProgress& progress = {});

}  // namespace cachalot

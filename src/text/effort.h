// How hard the model is asked to think, and how a prompt says so.
//
// V4.1 was trained on numbers from 1 to 100, of which three have names. V4 knows only these three: a number
// stands there for the highest name that it reaches.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/chat_format.h"

namespace cachalot {

// Any number from kLeastEffort to kMostEffort is a value.
enum class Effort : int { low = 50, high = 75, max = 100 };

inline constexpr int kLeastEffort = 1, kMostEffort = 100;

// What a release takes where nobody says anything.
Effort default_effort(ChatFormat format);

// "low", "high" or "max".
std::optional<Effort> named_effort(std::string_view name);

// What clients call it: also "minimal", "medium", "xhigh" and "ultra", which mean what the release's own
// service takes them for. "none" is no effort.
std::optional<Effort> effort_of_client(std::string_view word, ChatFormat format);

// What the prompt says, with the blank line after it; empty for V4's lower efforts.
std::string effort_text(Effort effort, ChatFormat format);

}  // namespace cachalot

// The fixed texts of DeepSeek's chat protocols. The models were trained on them: they are exact to the byte.
#pragma once

#include <string>
#include <string_view>

#include "text/chat_format.h"

namespace cachalot {

inline constexpr std::string_view kBosText = "<｜begin▁of▁sentence｜>";
inline constexpr std::string_view kEosText = "<｜end▁of▁sentence｜>";
inline constexpr std::string_view kSystemToken = "<｜System｜>";  // V4.1
inline constexpr std::string_view kUserToken = "<｜User｜>";
inline constexpr std::string_view kAssistantToken = "<｜Assistant｜>";
inline constexpr std::string_view kLatestReminderToken = "<｜latest_reminder｜>";
inline constexpr std::string_view kImageToken = "<｜deepseek_image｜>";  // V4.1
inline constexpr std::string_view kThinkStart = "<think>";
inline constexpr std::string_view kThinkEnd = "</think>";

// What differs between formats. A block of tool calls is calls_start, then for each call invoke_start, its
// name, kInvokeNameEnd, its parameters, invoke_end, and at last calls_end.
struct ChatProtocol {
    std::string_view system;  // before a system message; V4 has nothing there
    std::string calls_start, calls_end;
    std::string invoke_start, invoke_end;
    std::string parameter_start, parameter_end;
    std::string tools_start;  // up to the schemas, of which each has a line of its own

    // Whether a tag of calls is spelt as the model was trained to, where `tag` is all of it.
    bool spells(std::string_view tag) const;
};
const ChatProtocol& protocol_of(ChatFormat format);

inline constexpr std::string_view kInvokeNameEnd = "\">\n";
inline constexpr std::string_view kToolsBlockEnd = R"(

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
)";

// Followed by the JSON schema.
inline constexpr std::string_view kResponseFormat =
    "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n";

// Effort prefixes. The April preview calls the first one "max"; later releases call it "high" and the second
// "max".
inline constexpr std::string_view kThoroughEffort =
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the "
    "root cause, rigorously stress-testing your logic against all potential paths, edge cases, and "
    "adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every intermediate step, considered "
    "alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.\n\n";
inline constexpr std::string_view kExhaustiveEffort =
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively "
    "decompose the problem into its most fundamental components, trace every causal chain to its root, and "
    "resolve the underlying cause rather than any surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from multiple angles and are "
    "certain that no assumption remains unchecked and no error remains undiscovered.\n\n";

}  // namespace cachalot

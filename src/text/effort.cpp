#include "text/effort.h"

#include <fmt/format.h>

#include "text/prompt_protocol.h"

namespace cachalot {

namespace {

struct Word {
    std::string_view text;
    Effort v4, v41;
};

constexpr Word kWords[] = {
    {"minimal", Effort::low, Effort::low}, {"low", Effort::low, Effort::low},
    {"medium", Effort::low, Effort::high}, {"high", Effort::high, Effort::high},
    {"xhigh", Effort::max, Effort::high},  {"max", Effort::max, Effort::max},
    {"ultra", Effort::max, Effort::max},
};

}  // namespace

Effort default_effort(ChatFormat format) { return format == ChatFormat::v41 ? Effort::high : Effort::low; }

std::optional<Effort> named_effort(std::string_view name) {
    if (name == "low") return Effort::low;
    if (name == "high") return Effort::high;
    if (name == "max") return Effort::max;
    return std::nullopt;
}

std::optional<Effort> effort_of_client(std::string_view word, ChatFormat format) {
    for (const Word& known : kWords)
        if (known.text == word) return format == ChatFormat::v41 ? known.v41 : known.v4;
    return std::nullopt;
}

std::string effort_text(Effort effort, ChatFormat format) {
    switch (format) {
        case ChatFormat::v41:
            return fmt::format(
                "Reasoning Effort: {} (range 1-100, the higher the value, the more thorough the "
                "reasoning)\n\n",
                static_cast<int>(effort));
        case ChatFormat::v4:
            if (effort >= Effort::max) return std::string(kExhaustiveEffort);
            return std::string(effort >= Effort::high ? kThoroughEffort : "");
        case ChatFormat::v4_april: break;
    }
    return std::string(effort >= Effort::max ? kThoroughEffort : "");
}

}  // namespace cachalot

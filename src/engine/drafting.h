// How tokens are drafted; see scheduler.h for what that means for a pass.
#pragma once

#include <string_view>

namespace cachalot {

// Not; whenever the text has a guess; always by the model's drafter; when that is faster, by the drafter if
// there is one.
enum class Drafting { off, lookup, drafter, automatic };

inline constexpr int kLongestDraft = 12;    // tokens
inline constexpr double kLeastGain = 1.02;  // drafts that gain less are not worth their risk

// "off", "lookup", "auto", and "dspark" and "mtp", which are kinds of drafters.
inline constexpr const char* kDraftModes[] = {"auto", "off", "lookup", "dspark", "mtp"};

// Of one of these.
constexpr Drafting drafting_of(std::string_view mode) {
    if (mode == "off") return Drafting::off;
    if (mode == "lookup") return Drafting::lookup;
    return mode == "auto" ? Drafting::automatic : Drafting::drafter;
}

}  // namespace cachalot

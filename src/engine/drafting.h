// How tokens are drafted; see scheduler.h for what that means for a pass.
#pragma once

#include <cstdint>
#include <string_view>

namespace cachalot {

// Not; whenever the text has a guess; always by the model's drafter; when that is faster, by the drafter if
// there is one.
enum class Drafting { off, lookup, drafter, automatic };

// What was drafted so far.
struct DraftFigures {
    std::int64_t drafts = 0;    // that were verified
    std::int64_t drafted = 0;   // tokens of them
    std::int64_t accepted = 0;  // tokens of them that were written
    double gain = 0;            // how many times as fast as without drafts; 0: not known

    double mean_accepted() const {
        return drafts > 0 ? static_cast<double>(accepted) / static_cast<double>(drafts) : 0;
    }
    // Figures of another answer that was written side by side.
    void add(const DraftFigures& other) {
        drafts += other.drafts;
        drafted += other.drafted;
        accepted += other.accepted;
        gain = gain > other.gain ? gain : other.gain;
    }
};

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

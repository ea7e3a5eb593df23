#include "sampling/stop.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace cachalot {

StopMatcher::Pattern::Pattern(std::string stop) : text(std::move(stop)), border(text.size(), 0) {
    for (std::size_t i = 1; i < text.size(); ++i) border[i] = extend(border[i - 1], text[i]);
}

// The longest prefix that the text ends with after `c`, given that it ended with `prefix` bytes before.
std::size_t StopMatcher::Pattern::extend(std::size_t prefix, char c) const {
    while (prefix > 0 && text[prefix] != c) prefix = border[prefix - 1];
    return text[prefix] == c ? prefix + 1 : 0;
}

bool StopMatcher::Pattern::advance(char c) {
    length = extend(length, c);
    return length == text.size();
}

StopMatcher::StopMatcher(const std::vector<std::string>& stops) {
    if (stops.size() > kMaxStopStrings)
        fail("stop: {} strings were given, at most {} are allowed", stops.size(), kMaxStopStrings);
    for (std::size_t i = 0; i < stops.size(); ++i) {
        if (stops[i].empty()) fail("stop: string {} is empty", i + 1);
        if (stops[i].size() > kMaxStopBytes)
            fail("stop: string {} has {} bytes, at most {} are allowed", i + 1, stops[i].size(),
                 kMaxStopBytes);
        patterns_.emplace_back(stops[i]);
    }
}

StopMatcher::Result StopMatcher::push(std::string_view text) {
    if (!matched_.empty()) return {{}, true};
    if (patterns_.empty()) return {std::string(text), false};
    std::size_t hold = held_.size();
    for (char c : text) {
        held_ += c;
        hold = 0;
        for (auto& pattern : patterns_) {
            if (pattern.advance(c) && pattern.text.size() > matched_.size()) matched_ = pattern.text;
            hold = std::max(hold, pattern.length);
        }
        if (!matched_.empty()) {
            held_.resize(held_.size() - matched_.size());
            return {std::exchange(held_, {}), true};
        }
    }
    Result result{held_.substr(0, held_.size() - hold), false};
    held_.erase(0, result.text.size());
    return result;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace cachalot

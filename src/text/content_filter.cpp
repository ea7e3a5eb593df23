#include "text/content_filter.h"

#include <algorithm>
#include <utility>

#include "text/mark_reader.h"

namespace cachalot {

namespace {

constexpr std::string_view kBar = "｜";

}  // namespace

std::string ContentFilter::feed(std::string_view text) {
    pass(text);
    return std::exchange(out_, {});
}

void ContentFilter::pass(std::string_view text) {
    while (!text.empty()) {
        if (opens_.empty()) {
            const std::size_t start =
                std::min(text.find_first_of("<\xEF"), text.size());  // of "<" and of a bar
            out_ += text.substr(0, start);
            text.remove_prefix(start);
            if (text.empty()) break;
            opens_.push_back(0);
        }
        held_ += text.front();
        text.remove_prefix(1);
        settle();
    }
}

// Looks at what was added to the innermost beginning.
void ContentFilter::settle() {
    const std::size_t start = opens_.back();
    const Mark mark = control_mark(std::string_view(held_).substr(start), false);
    if (mark.kind == Mark::Kind::more) return;
    if (mark.kind == Mark::Kind::text) return fail();
    const std::string rest = held_.substr(start + mark.length);
    held_.resize(start);
    opens_.pop_back();
    dropped_ = true;
    pass(rest);
}

// The last character is not what a mark goes on with. It may begin one within, or end a bar that does.
void ContentFilter::fail() {
    const std::size_t start = opens_.back();
    for (std::size_t at = start + 1; at < held_.size(); at++) {
        if (held_[at] != '<' && held_[at] != kBar[0]) continue;
        if (control_mark(std::string_view(held_).substr(at), false).kind != Mark::Kind::more) continue;
        opens_.push_back(at);
        return;
    }
    opens_.clear();
    out_ += std::exchange(held_, {});
}

std::string ContentFilter::flush() {
    // Of what is left of a tag at the very end nothing is text.
    while (!opens_.empty()) {
        const std::size_t start = opens_.back();
        opens_.pop_back();
        const Mark mark = control_mark(std::string_view(held_).substr(start), true);
        if (mark.kind == Mark::Kind::text) continue;
        held_.resize(start);
        dropped_ = true;
    }
    return std::exchange(held_, {});
}

bool ContentFilter::take_dropped() { return std::exchange(dropped_, false); }

}  // namespace cachalot

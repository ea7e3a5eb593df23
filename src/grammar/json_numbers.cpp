// Bounds as automata: digits are compared with those of the bound one by one, from the first. While the
// digits before the point are read, it is not known yet how many there will be; so two things are kept, how
// the digits so far compare with as many of the bound's, and how many they are.

#include "grammar/json_numbers.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

namespace cachalot::grammar {
namespace {

// Of numbers without bounds; with bounds, or of the bound if that is longer.
constexpr std::uint32_t kIntegerDigits = 20, kWholeDigits = 40, kFractionDigits = 40;
constexpr std::uint32_t kBoundedFractionDigits = 17;

// Numbers without a sign.
class SizeWriter {
  public:
    SizeWriter(Builder& builder, const NumberRange& range, std::optional<Bound> low,
               std::optional<Bound> high)
        : builder_(builder), range_(range), low_(std::move(low)), high_(std::move(high)) {
        most_whole_ = kIntegerDigits;
        if (low_) most_whole_ = std::max(most_whole_, digits(low_->value.whole));
        if (high_) most_whole_ = digits(high_->value.whole);
        most_fraction_ = range.integer ? 0 : range.multiple ? range.scale : kBoundedFractionDigits;
        for (const auto& bound : {low_, high_})
            if (bound && !range.integer && !range.multiple)
                most_fraction_ = std::max(most_fraction_, digits(bound->value.fraction) + 1);
    }

    void write(NodeId from, NodeId to) {
        to_ = to;
        for (std::uint32_t digit = 0; digit < 10; ++digit) read(from, {}, digit);
        while (!open_.empty()) {
            const auto [state, node] = open_.back();
            open_.pop_back();
            fill(state, node);
        }
    }

  private:
    struct Reading {
        bool behind_point = false;
        std::uint32_t digits = 0;  // read before the point, or behind it
        bool is_zero = false;      // the only digit is 0, which no other follows
        int low = 0, high = 0;     // how the digits compare with as many of the bound's
        std::uint64_t remainder = 0;
        auto operator<=>(const Reading&) const = default;
    };

    static std::uint32_t digits(const std::string& text) { return static_cast<std::uint32_t>(text.size()); }
    static std::uint32_t digit_at(const std::string& text, std::uint32_t at) {
        return at < text.size() ? static_cast<std::uint32_t>(text[at] - '0') : 0;
    }

    static int compared(int before, const std::optional<Bound>& bound, const Reading& reading,
                        std::uint32_t digit) {
        if (before != 0 || !bound) return before;
        const std::string& of = reading.behind_point ? bound->value.fraction : bound->value.whole;
        if (!reading.behind_point && reading.digits >= of.size()) return 0;  // longer: their number decides
        const std::uint32_t other = digit_at(of, reading.digits);
        return digit < other ? -1 : digit > other ? 1 : 0;
    }

    // How the whole numbers compare, now that all digits before the point are read.
    static int compared_whole(int digits_so_far, const std::optional<Bound>& bound, std::uint32_t digits) {
        if (!bound) return 0;
        const auto length = bound->value.whole.size();
        return digits < length ? -1 : digits > length ? 1 : digits_so_far;
    }

    // And now that all digits are read.
    static int compared_all(int so_far, const std::optional<Bound>& bound, const Reading& at) {
        if (!bound || so_far != 0) return so_far;
        const std::uint32_t read = at.behind_point ? at.digits : 0;
        return bound->value.fraction.size() > read ? -1 : 0;
    }

    void read(NodeId from, Reading at, std::uint32_t digit) {
        at.low = compared(at.low, low_, at, digit);
        at.high = compared(at.high, high_, at, digit);
        at.is_zero = !at.behind_point && at.digits == 0 && digit == 0;
        ++at.digits;
        if (range_.multiple) at.remainder = (at.remainder * 10 + digit) % range_.multiple;
        const auto symbol = static_cast<Symbol>('0' + digit);
        builder_.range(from, node_of(at), symbol, symbol);
    }

    NodeId node_of(const Reading& at) {
        const auto [found, fresh] = known_.try_emplace(at, 0);
        if (fresh) open_.emplace_back(at, found->second = builder_.node());
        return found->second;
    }

    void fill(const Reading& at, NodeId node) {
        if (fits(at)) builder_.skip(node, to_);
        const bool more =
            at.behind_point ? at.digits < most_fraction_ : !at.is_zero && at.digits < most_whole_;
        for (std::uint32_t digit = 0; more && digit < 10; ++digit) read(node, at, digit);
        if (at.behind_point || most_fraction_ == 0) return;
        Reading behind = at;
        behind.behind_point = true;
        behind.is_zero = false;
        behind.low = compared_whole(at.low, low_, at.digits);
        behind.high = compared_whole(at.high, high_, at.digits);
        behind.digits = 0;
        const NodeId point = builder_.node();
        builder_.range(node, point, '.', '.');
        for (std::uint32_t digit = 0; digit < 10; ++digit) read(point, behind, digit);
    }

    bool fits(const Reading& at) const {
        int low = at.low, high = at.high;
        if (!at.behind_point) {
            low = compared_whole(low, low_, at.digits);
            high = compared_whole(high, high_, at.digits);
        }
        low = compared_all(low, low_, at);
        high = compared_all(high, high_, at);
        if (low_ && (low < 0 || (low == 0 && low_->exclusive))) return false;
        if (high_ && (high > 0 || (high == 0 && high_->exclusive))) return false;
        if (!range_.multiple) return true;
        std::uint64_t remainder = at.remainder;
        for (std::uint32_t i = at.behind_point ? at.digits : 0; i < range_.scale; ++i)
            remainder = remainder * 10 % range_.multiple;
        return remainder == 0;
    }

    Builder& builder_;
    const NumberRange& range_;
    std::optional<Bound> low_, high_;
    std::uint32_t most_whole_, most_fraction_;
    NodeId to_ = 0;
    std::map<Reading, NodeId> known_;
    std::vector<std::pair<Reading, NodeId>> open_;
};

// -?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d\d?)?
void write_any(Builder& builder, NodeId from, NodeId to, bool integer) {
    const RuleId digit = builder.rule("digit");
    builder.range(builder.begin(digit), builder.end(digit), '0', '9');
    const NodeId size = builder.node(), whole = builder.node(), first = builder.node();
    builder.range(from, size, '-', '-');
    builder.skip(from, size);
    builder.range(size, whole, '0', '0');
    builder.range(size, first, '1', '9');
    builder.repeat(first, whole, digit, 0, (integer ? kIntegerDigits : kWholeDigits) - 1);
    builder.skip(whole, to);
    if (integer) return;
    const NodeId point = builder.node(), fraction = builder.node(), sign = builder.node(),
                 exponent = builder.node();
    builder.range(whole, point, '.', '.');
    builder.repeat(point, fraction, digit, 1, kFractionDigits);
    builder.skip(fraction, to);
    for (const NodeId before : {whole, fraction})
        for (const Symbol e : {'e', 'E'}) builder.range(before, sign, e, e);
    for (const Symbol c : {'+', '-'}) builder.range(sign, exponent, c, c);
    builder.skip(sign, exponent);
    builder.repeat(exponent, to, digit, 1, 2);
}

Bound turned(Bound bound) {
    bound.value.negative = false;
    return bound;
}

}  // namespace

void write_number(Builder& builder, NodeId from, NodeId to, const NumberRange& range) {
    const auto& [low, high, multiple, scale, integer] = range;
    if (!low && !high && !multiple) return write_any(builder, from, to, integer);
    const auto is_negative = [](const Bound& bound) { return bound.value.negative; };
    if (!high || !is_negative(*high)) {
        std::optional<Bound> least;
        if (low && !is_negative(*low)) least = low;
        SizeWriter(builder, range, least, high).write(from, to);
    }
    if (!low || is_negative(*low)) {
        std::optional<Bound> least, most;
        if (high && (is_negative(*high) || high->value.is_zero())) least = turned(*high);
        if (low) most = turned(*low);
        const NodeId size = builder.node();
        builder.range(from, size, '-', '-');
        SizeWriter(builder, range, least, most).write(size, to);
    }
}

}  // namespace cachalot::grammar

// Route traces as CSV: read line by line into (token, layer, slot, expert), then put in the order of
// evaluation. The prompt is recorded layer by layer, so that a token's choices are spread over the file.
#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "base/checked.h"
#include "base/error.h"
#include "experts/route_trace.h"

namespace cachalot {
namespace {

// What identifies a token: turn, phase, step. In this order they were evaluated.
using TokenName = std::array<std::uint32_t, 3>;

struct Choice {
    std::uint32_t token;  // in order of appearance
    std::uint32_t line;
    std::uint16_t layer, slot, expert;
};

class CsvReader {
  public:
    CsvReader(std::string_view text, std::string_view source) : text_(text), source_(source) {}

    RouteTrace read() {
        std::string_view line;
        while (next(line)) {
            if (line.empty()) continue;
            if (line.front() == '#')
                read_comment(line.substr(1));
            else if (columns_ == 0)
                read_columns(line);
            else
                read_row(line);
        }
        if (columns_ == 0) fail("{}: neither a route trace nor a CSV of one", source_);
        return assemble();
    }

  private:
    static constexpr std::array<std::string_view, 6> kNames = {"turn",  "phase", "step",
                                                               "layer", "slot",  "expert"};
    enum { kTurn, kPhase, kStep, kLayer, kSlot, kExpert };

    template <class... Args>
    [[noreturn]] void fail_here(fmt::format_string<Args...> format, Args&&... args) const {
        fail("{}: line {}: {}", source_, line_number_, fmt::format(format, std::forward<Args>(args)...));
    }

    bool next(std::string_view& line) {
        if (text_.empty()) return false;
        const auto end = std::min(text_.find('\n'), text_.size());
        line = text_.substr(0, end);
        text_.remove_prefix(std::min(end + 1, text_.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        ++line_number_;
        return true;
    }

    // Cuts the first part off, up to the separator.
    static std::string_view cut(std::string_view& text, char separator) {
        const auto end = std::min(text.find(separator), text.size());
        const auto part = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        return part;
    }

    template <class T>
    T number(std::string_view text, std::string_view what) const {
        T value{};
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc() || end != text.data() + text.size() || text.empty())
            fail_here("{} is \"{}\", not a number", what, text.substr(0, 40));
        return value;
    }

    // "key=value key=value ..."; of a value with spaces the first word is kept.
    void read_comment(std::string_view text) {
        if (columns_ != 0) return;
        int layer = -1;
        while (!text.empty()) {
            auto value = cut(text, ' ');
            if (value.find('=') == std::string_view::npos) continue;
            const auto key = cut(value, '=');
            if (key == "model") header_.model = value;
            if (key == "n_layer") header_.layers = number<int>(value, key);
            if (key == "n_expert") header_.experts = number<int>(value, key);
            if (key == "n_expert_used") header_.top_k = number<int>(value, key);
            if (key == "layer") layer = number<int>(value, key);
            if (key == "expert_bytes") {
                if (layer != static_cast<int>(header_.expert_bytes.size()))
                    fail_here("expert_bytes of layer {}, expected those of layer {}", layer,
                              header_.expert_bytes.size());
                header_.expert_bytes.push_back(number<std::uint64_t>(value, key));
            }
        }
    }

    void read_columns(std::string_view line) {
        if (header_ == RouteHeader{}) fail("{}: neither a route trace nor a CSV of one", source_);
        validate(header_, fmt::format("{}: the comments before line {}", source_, line_number_));
        position_.fill(-1);
        while (!line.empty()) {
            const auto name = cut(line, ',');
            for (std::size_t i = 0; i < kNames.size(); ++i)
                if (name == kNames[i]) position_[i] = columns_;
            ++columns_;
        }
        for (std::size_t i = 0; i < kNames.size(); ++i)
            if (position_[i] < 0) fail_here("there is no column \"{}\"", kNames[i]);
    }

    void read_row(std::string_view line) {
        std::array<std::uint32_t, 6> v{};
        int column = 0;
        for (; !line.empty(); ++column) {
            const auto value = cut(line, ',');
            for (std::size_t i = 0; i < v.size(); ++i)
                if (position_[i] == column) v[i] = number<std::uint32_t>(value, kNames[i]);
        }
        if (column < columns_) fail_here("{} of {} values", column, columns_);
        auto check = [&](int i, int below) {
            const auto index = static_cast<std::size_t>(i);
            if (v[index] >= static_cast<std::uint32_t>(below))
                fail_here("{} {}, but there are {}", kNames[index], v[index], below);
        };
        check(kPhase, 2);
        check(kLayer, header_.layers);
        check(kSlot, header_.top_k);
        check(kExpert, header_.experts);
        const auto known =
            tokens_.try_emplace({v[kTurn], v[kPhase], v[kStep]}, static_cast<std::uint32_t>(tokens_.size()));
        choices_.push_back({known.first->second, line_number_, static_cast<std::uint16_t>(v[kLayer]),
                            static_cast<std::uint16_t>(v[kSlot]), static_cast<std::uint16_t>(v[kExpert])});
    }

    RouteTrace assemble() {
        RouteTrace trace;
        trace.source = source_;
        trace.header = header_;
        // A few choices may be missing: of a prompt's last layer only the last token is computed. A file that
        // names a new token on every line is no trace and would take a thousand times its size.
        const std::size_t per_token = header_.choices();
        if (tokens_.size() > 64 + 8 * (choices_.size() / per_token + 1))
            fail("{}: {} choices for {} tokens of {} layers", source_, choices_.size(), tokens_.size(),
                 header_.layers);
        std::vector<std::uint32_t> rank(tokens_.size());
        for (const auto& [name, appearance] : tokens_) {
            rank[appearance] = static_cast<std::uint32_t>(trace.tokens.size());
            RoutedToken token;
            token.sequence = name[kTurn];
            token.prompt = name[kPhase] == 0;
            trace.tokens.push_back(token);
        }
        trace.routes.assign(checked_mul(trace.tokens.size(), per_token, source_), kNoExpert);
        const auto k = static_cast<std::size_t>(header_.top_k);
        for (const auto& c : choices_) {
            const auto row = std::span(trace.routes).subspan(rank[c.token] * per_token + c.layer * k, k);
            line_number_ = c.line;
            if (row[c.slot] != kNoExpert) fail_here("this token, layer and slot occurred before");
            if (std::find(row.begin(), row.end(), c.expert) != row.end())
                fail_here("expert {} was chosen for this token and layer before", c.expert);
            row[c.slot] = c.expert;
        }
        for (std::size_t first = 0; first < trace.routes.size(); first += k) {
            const auto row = std::span(trace.routes).subspan(first, k);
            std::fill(std::remove(row.begin(), row.end(), kNoExpert), row.end(), kNoExpert);
        }
        return trace;
    }

    std::string_view text_, source_;
    std::uint32_t line_number_ = 0;
    RouteHeader header_;
    std::array<int, 6> position_{};  // column of each name
    int columns_ = 0;
    std::map<TokenName, std::uint32_t> tokens_;
    std::vector<Choice> choices_;
};

}  // namespace

RouteTrace parse_route_csv(std::string_view text, std::string_view source) {
    return CsvReader(text, source).read();
}

}  // namespace cachalot

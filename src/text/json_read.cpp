// Builds values from the parser's events, in time linear in the text. (nlohmann-json's own way of watching a
// parser, a callback, looks at all elements of an array again whenever one of them ends.)
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/chat_json.h"
#include "text/json_limits.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

class ValueBuilder : public nlohmann::json_sax<ordered_json> {
  public:
    explicit ValueBuilder(std::string_view what) : what_(what) {}

    ordered_json take() { return std::move(root_); }

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t value, const string_t& /*digits*/) override { return add(value); }
    bool string(string_t& value) override { return add(std::move(value)); }
    bool binary(binary_t& /*value*/) override { return false; }  // not in text
    bool start_object(std::size_t /*size*/) override { return open(ordered_json::object()); }
    bool start_array(std::size_t /*size*/) override { return open(ordered_json::array()); }
    bool end_array() override {
        open_.pop_back();
        return true;
    }
    // The members' order and their place in memory stay: the search for an equal key waits until the end.
    bool key(string_t& name) override {
        auto& members = open_.back()->get_ref<ordered_json::object_t&>();
        if (members.size() == kMaxJsonKeys)
            fail("{}: a JSON object has more than {} keys", what_, kMaxJsonKeys);
        members.emplace_back(std::move(name), ordered_json());
        return true;
    }
    bool end_object() override {
        merge_repeated(open_.back()->get_ref<ordered_json::object_t&>());
        open_.pop_back();
        return true;
    }
    bool parse_error(std::size_t position, const std::string& /*token*/,
                     const nlohmann::detail::exception& error) override {
        if (dynamic_cast<const ordered_json::parse_error*>(&error))
            fail("{}: not valid JSON (at byte {})", what_, position);
        fail("{}: JSON with a number out of range", what_);
    }

  private:
    bool add(ordered_json value) {
        place(std::move(value));
        return true;
    }

    bool open(ordered_json value) {
        if (open_.size() >= kMaxJsonDepth)
            fail("{}: JSON is nested deeper than {} levels", what_, kMaxJsonDepth);
        open_.push_back(&place(std::move(value)));
        return true;
    }

    // A pointer to an open value stays good: nothing is added to what it lies in before it is closed.
    ordered_json& place(ordered_json value) {
        if (++values_ > kMaxJsonValues) fail("{}: JSON with more than {} values", what_, kMaxJsonValues);
        if (open_.empty()) return root_ = std::move(value);
        ordered_json& parent = *open_.back();
        if (parent.is_array()) {
            auto& elements = parent.get_ref<ordered_json::array_t&>();
            elements.push_back(std::move(value));
            return elements.back();
        }
        auto& members = parent.get_ref<ordered_json::object_t&>();
        return members.back().second = std::move(value);
    }

    // The last of several equal keys wins, at the place of the first.
    void merge_repeated(ordered_json::object_t& members) {
        if (members.size() < 2) return;
        keys_.clear();
        for (const auto& [name, value] : members) keys_.push_back(&name);
        const std::vector<std::size_t> last = last_of_equal(keys_);
        if (last.empty()) return;
        ordered_json::object_t kept;
        const auto at = [&](std::size_t i) { return members.begin() + static_cast<std::ptrdiff_t>(i); };
        for (std::size_t i = 0; i < last.size(); ++i)
            if (last[i] != kRepeated) kept.emplace_back(at(i)->first, std::move(at(last[i])->second));
        members = std::move(kept);
    }

    const std::string_view what_;
    ordered_json root_;
    std::vector<ordered_json*> open_;
    std::vector<const std::string*> keys_;
    std::size_t values_ = 0;
};

}  // namespace

ordered_json parse_json(std::string_view text, std::string_view what) {
    std::string storage;
    ValueBuilder builder(what);
    const bool whole = ordered_json::sax_parse(without_lone_surrogates(text, storage), &builder);
    CACHALOT_CHECK(whole);
    return builder.take();
}

bool is_json(std::string_view text) { return ordered_json::accept(text); }

}  // namespace cachalot

#include "file/json.h"

#include <algorithm>
#include <set>
#include <span>
#include <vector>

#include "base/error.h"
#include "file/foreign_file.h"
#include "file/in_quotes.h"

namespace cachalot {

using nlohmann::json;

namespace {

[[noreturn]] void fail_too_deep(std::string_view source, int max_depth) {
    fail("{}: JSON is nested more than {} levels deep", source, max_depth);
}

[[noreturn]] void fail_no_object(std::string_view source) { fail("{}: expected a JSON object", source); }

// Of the parser's own messages only that a number is too large is about something else than the form.
[[noreturn]] void fail_bad_json(std::string_view text, std::string_view source, std::size_t position,
                                const json::exception& error) {
    if (!dynamic_cast<const json::parse_error*>(&error))
        fail("{}: has a number that is out of range", source);
    fail_no_json(text, source, position > 0 ? position - 1 : 0);  // the parser counts from 1
}

// Counts the depth and passes everything on.
class Adapter : public json::json_sax_t {
  public:
    Adapter(std::string_view text, std::string_view source, int max_depth, JsonHandler& handler)
        : text_(text), source_(source), max_depth_(max_depth), handler_(handler) {}

    bool null() override { return other(); }
    bool boolean(bool) override { return other(); }
    bool number_integer(json::number_integer_t) override { return other(); }
    bool number_float(json::number_float_t, const std::string&) override { return other(); }
    bool binary(json::binary_t&) override { return other(); }
    bool number_unsigned(json::number_unsigned_t value) override {
        check_inside();
        handler_.natural(depth_, value);
        return true;
    }
    bool string(std::string& value) override {
        check_inside();
        handler_.text(depth_, value);
        return true;
    }
    bool key(std::string& name) override {
        handler_.key(depth_, name);
        return true;
    }
    bool start_object(std::size_t) override { return open(false); }
    bool start_array(std::size_t) override { return open(true); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool parse_error(std::size_t position, const std::string&, const json::exception& error) override {
        fail_bad_json(text_, source_, position, error);
    }

  private:
    void check_inside() const {
        if (depth_ == 0) fail_no_object(source_);
    }
    bool other() {
        check_inside();
        handler_.other(depth_);
        return true;
    }
    bool open(bool is_array) {
        if (depth_ == 0 && is_array) fail_no_object(source_);
        if (depth_ == max_depth_) fail_too_deep(source_, max_depth_);
        handler_.open(depth_++, is_array);
        return true;
    }
    bool close() {
        handler_.close(--depth_);
        return true;
    }

    std::string_view text_, source_;
    int max_depth_;
    JsonHandler& handler_;
    int depth_ = 0;
};

}  // namespace

void fail_no_json(std::string_view text, std::string_view source, std::size_t position) {
    if (const auto what = known_format(std::as_bytes(std::span(text))); !what.empty())
        fail("{}: is no JSON: it {}{}", source, what, unfinished_name(std::string(source)));
    const auto before = text.substr(0, position);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    fail("{}: is no JSON{} at line {}, column {}; look into it, or download or copy it again{}", source,
         position >= text.size() ? ", as it ends too early," : "", line, column,
         unfinished_name(std::string(source)));
}

void check_json(std::string_view text, std::string_view source) {
    try {
        [[maybe_unused]] const auto nothing =
            json::parse(text, [](int, json::parse_event_t, json&) { return false; });
    } catch (const json::parse_error& e) {
        fail_bad_json(text, source, e.byte, e);
    } catch (const json::exception& e) {
        fail_bad_json(text, source, 0, e);
    }
}

void scan_json(std::string_view text, std::string_view source, int max_depth, JsonHandler& handler) {
    Adapter adapter(text, source, max_depth, handler);
    json::sax_parse(text.begin(), text.end(), &adapter);
}

json parse_file_json(std::string_view text, std::string_view source, int max_depth, std::size_t max_values) {
    std::vector<std::set<std::string>> keys;  // of each object that is open
    std::size_t values = 0;

    const auto check = [&](int depth, json::parse_event_t event, json& value) {
        using Event = json::parse_event_t;
        if (depth == 0 && (event == Event::array_start || event == Event::value)) fail_no_object(source);
        if (++values > max_values) fail("{}: more than {} values", source, max_values);
        if (event == Event::object_start || event == Event::array_start) {
            if (depth == max_depth) fail_too_deep(source, max_depth);
        }
        if (event == Event::object_start) keys.emplace_back();
        if (event == Event::object_end) keys.pop_back();
        if (event == Event::key) {
            const auto& key = value.get_ref<const std::string&>();
            if (!keys.back().insert(key).second) fail("{}: key {} appears twice", source, in_quotes(key));
        }
        return true;  // keep the value
    };

    try {
        return json::parse(text.begin(), text.end(), check);
    } catch (const json::parse_error& error) {
        fail_bad_json(text, source, error.byte, error);
    } catch (const json::exception& error) {
        fail_bad_json(text, source, 0, error);
    }
}

}  // namespace cachalot

#include "file/json.h"

#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "file/in_quotes.h"

namespace cachalot {

using nlohmann::json;

void parse_json_members(std::string_view text, std::string_view source, const JsonLimits& limits,
                        const std::function<void(const std::string& name, json& value)>& on_member) {
    std::vector<std::set<std::string>> keys;  // of each object that is open
    std::string member;                       // the member of the outermost object that we are in
    std::size_t values = 0;                   // in that member

    const auto on_event = [&](int depth, json::parse_event_t event, json& value) {
        using Event = json::parse_event_t;
        if (depth == 0 && (event == Event::array_start || event == Event::value))
            fail("{}: expected a JSON object", source);
        if (++values > limits.values)
            fail("{}: {} holds more than {} values", source, in_quotes(member), limits.values);
        switch (event) {
            case Event::object_start: keys.emplace_back(); [[fallthrough]];
            case Event::array_start:
                if (depth >= limits.depth)
                    fail("{}: JSON is nested more than {} levels deep", source, limits.depth);
                return true;
            case Event::key: {
                const auto& key = value.get_ref<const std::string&>();
                if (!keys.back().insert(key).second) fail("{}: key {} appears twice", source, in_quotes(key));
                if (depth == 1) {
                    member = key;
                    values = 0;
                    if (keys.back().size() > limits.members)
                        fail("{}: more than {} entries", source, limits.members);
                }
                return true;
            }
            case Event::object_end: keys.pop_back(); break;
            case Event::array_end:
            case Event::value: break;
        }
        if (depth != 1) return true;
        on_member(member, value);
        return false;  // forget the value
    };

    try {
        [[maybe_unused]] const json emptied = json::parse(text.begin(), text.end(), on_event);
    } catch (const json::exception& error) {
        fail("{}: {}", source, error.what());
    }
}

json parse_file_json(std::string_view text, std::string_view source, const JsonLimits& limits) {
    json result = json::object();
    parse_json_members(text, source, limits,
                       [&](const std::string& name, json& value) { result[name] = std::move(value); });
    return result;
}

}  // namespace cachalot

// For check-schemas: what the grammar of a schema says of texts, and texts that it writes at random.
//
// Reads lines {"schema": ..., "texts": [...], "samples": N, "open": BOOL}; writes for each a line {"error": ...}
// or {"accepted": [BOOL, ...], "samples": [...]}. A sample that does not come to an end is left out.

#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "grammar/json_schema.h"
#include "grammar/states.h"

namespace cachalot::grammar {
namespace {

constexpr std::size_t kLongest = 5000;

// Chooses among the bytes that may follow, ends where it may as often as not, and closes what is open the more
// readily the longer it gets.
std::string sample(const Grammar& grammar, std::mt19937& random) {
    Position at = grammar.states().begin();
    std::string text;
    while (text.size() < kLongest) {
        std::vector<Symbol> bytes, closing;
        for (Symbol byte = 0; byte < 256; ++byte) {
            if (!grammar.states().next(at, {&byte, 1}).state) continue;
            bytes.push_back(byte);
            if (std::string_view("\"]}").find(static_cast<char>(byte)) != std::string_view::npos)
                closing.push_back(byte);
        }
        if (at.state->ends && (bytes.empty() || random() % 2 == 0)) return text;
        if (!closing.empty() && random() % kLongest < text.size() * 8 + 200) bytes = closing;
        const Symbol byte = bytes.at(random() % bytes.size());
        at = grammar.states().next(at, {&byte, 1});
        text += static_cast<char>(byte);
    }
    return {};
}

Json answer(const Json& question, std::mt19937& random) {
    try {
        const bool open = question.value("open", false);
        const auto grammar = open ? compile_open_json_schema(question.at("schema"))
                                  : compile_json_schema(question.at("schema"));
        Json accepted = Json::array(), samples = Json::array();
        for (const auto& text : question.at("texts"))
            accepted.push_back(matches(*grammar, text.get<std::string>()));
        for (int i = question.value("samples", 0); i > 0; --i)
            if (std::string text = sample(*grammar, random); !text.empty()) samples.push_back(text);
        return {{"accepted", accepted}, {"samples", samples}};
    } catch (const Error& error) {
        return {{"error", error.what()}};
    }
}

}  // namespace
}  // namespace cachalot::grammar

int main() {
    std::mt19937 random(1);
    std::string line;
    while (std::getline(std::cin, line))
        std::cout << cachalot::grammar::answer(nlohmann::ordered_json::parse(line), random).dump() << '\n';
}

// Prompts and completions of V4.1 as DeepSeek's encoder has them (tests/data/encoding-v41*): one case a line,
// {"name", "input", and "expected" or "expected_error"}.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "text/chat_json.h"
#include "text/prompt.h"
#include "text/tokenizer_test_data.h"

namespace cachalot::test {

// Names that begin with `beginning`, of the September release and of the one with namespaces.
inline std::vector<nlohmann::ordered_json> encoding_cases(const std::string& beginning = {}) {
    std::vector<nlohmann::ordered_json> cases;
    for (const char* folder : {"encoding-v41", "encoding-v41-1017"}) {
        std::istringstream lines(read_file(std::string(CACHALOT_TEST_DATA "/") + folder + "/cases.jsonl"));
        for (std::string line; std::getline(lines, line);) {
            auto one = parse_json(line, folder);
            if (one["name"].get<std::string>().starts_with(beginning)) cases.push_back(std::move(one));
        }
    }
    return cases;
}

// nano's tokenizer with V4.1's tokens in the place of its last two.
inline TokenizerData nano41_data() {
    TokenizerData data = nano().data();
    const std::size_t last = data.tokens.size() - 1;
    data.tokens[last - 1] = "<｜System｜>";
    data.tokens[last] = "<｜deepseek_image｜>";
    data.types[last - 1] = data.types[last] = static_cast<int>(TokenType::control);
    data.merges.resize(data.merges.size() - 2);
    return data;
}

}  // namespace cachalot::test

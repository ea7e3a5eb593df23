// Answers that DeepSeek's API gave, as a check that a model file computes what the original does.
//
// A file holds a request of one user message without thinking, and for each token of the answer its bytes and
// the 20 most probable ones with their log-probabilities (schema "ds4-official-logprobs-v1"). The answer is
// given to the model token by token and its predictions are looked at on the way, so that one deviation does
// not change all that follows.
//
// At temperature 0 the API reports log-probability 0 for its choice and -9999 for everything else. Then only
// the choice can be compared; log-probabilities are, where there are some.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"

namespace cachalot {

struct OfficialToken {
    std::string bytes;
    std::optional<double> logprob;  // none if the API gave no figure
};

struct OfficialAnswer {
    std::string id, model, prompt;
    std::int64_t prompt_tokens = 0;
    struct Step {
        OfficialToken chosen;
        std::vector<OfficialToken> top;
    };
    std::vector<Step> steps;
};

// Throws Error naming the source and the field.
OfficialAnswer parse_official(std::string_view json, const std::string& source);

// All *.official.json of a folder, or of its folder "official", by name. Throws Error if there are none.
std::vector<std::filesystem::path> official_files(const std::filesystem::path& folder);
std::vector<OfficialAnswer> read_official(const std::filesystem::path& folder);

struct OfficialScore {
    std::string id;
    std::int64_t prompt_tokens = 0, official_prompt_tokens = 0;
    struct Step {
        std::string text;           // of the official token
        double logprob = 0;         // that the model gives it
        std::int64_t rank = 0;      // among all tokens; 0: the most probable one
        std::string best;           // the model's most probable token
        double difference = 0;      // mean absolute difference of the log-probabilities that both give ...
        std::int64_t compared = 0;  // ... to so many tokens
    };
    std::vector<Step> steps;
    std::int64_t agreed() const;  // steps where the official token is the most probable one
};

// Throws Error if the answer has tokens that the model's vocabulary has not: then it is not a DeepSeek V4 of
// full size.
OfficialScore score_official(Engine& engine, const OfficialAnswer& answer,
                             const Engine::Progress& progress = {});

}  // namespace cachalot

// What `run` and `chat` share: the options of an answer.
#pragma once

#include "cli/command.h"
#include "engine/chat.h"

namespace cachalot::cli {

// "drafts    30 of 4.0 tokens, 2.7 of them written, 1.31 times as fast"
std::string draft_text(const DraftFigures& drafts);

struct AnswerOptions {
    std::string system, think = "off";
    std::optional<float> temperature, top_p;  // none: what the model recommends
    float min_p = 0, repetition = 1, presence = 0, frequency = 0;
    int top_k = 0;
    std::int64_t seed = -1;  // -1: a new one each time
    std::int64_t max_tokens = -1;
    std::vector<std::string> stops, biases;
    bool ignore_eos = false, april = false;
    std::string schema, grammar, regex;  // files, files, an expression: the form of answers
    bool json_object = false;

    void add_to(CLI::App& app);
    GenerationOptions generation(const Model& model) const;
    // What answers have to look like. Throws Error for a file that cannot be read.
    AnswerForm form() const;
    // The model decides the format, of V4's generations these options do.
    ChatOptions chat() const { return chat(think); }
    ChatOptions chat(const std::string& think_mode) const;

  private:
    void add_form_to(CLI::App& app);
};

// What --think and /think take: "off", "on" (the release's default effort), "low", "high", "max", or a number
// from 1 to 100. Throws Error for anything else.
inline constexpr const char* kThinkModes = "off, on, low, high, max or 1 to 100";
void check_think(const std::string& mode);

}  // namespace cachalot::cli

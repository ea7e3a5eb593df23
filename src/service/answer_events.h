// One answer's text as events: taken apart into reasoning, content and calls, ended at stop strings.
//
// Stop strings apply to what the user sees, the content; in reasoning and in arguments they mean nothing.
// Log- probabilities come with the text that their tokens contributed to, and those of tags and dropped white
// space with none.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "sampling/stop.h"
#include "service/job_queue.h"
#include "text/completion_parser.h"

namespace cachalot::server {

class AnswerEvents {
  public:
    // `in_reasoning`: where the answer begins; none for raw text, which has no structure.
    AnswerEvents(QueuedJob& job, const Request& request, int choice, std::optional<bool> in_reasoning);

    // Log-probabilities of a token whose text starts at `offset` of the answer. Before the text is fed.
    void add_logprobs(Logprobs logprobs, std::size_t offset) {
        logprobs_.push_back({std::move(logprobs), offset});
    }

    // False: the answer ends here, by a stop string or because it made the one call that it may.
    bool feed(const std::string& text);

    // The text is over: sends what was held back. `cut`: by a limit, so that more might have followed.
    void end_text(bool cut);

    // Sends `finished`; `reason` is why the text ended, if it was not ended here. `tokens`: see Event.
    void finish(FinishReason reason, std::vector<std::int32_t> tokens = {});

    // Whether the answer was ended here.
    bool cut() const { return cut_; }
    const Completion& completion() const { return parser_.completion(); }
    const std::vector<std::string>& call_ids() const { return call_ids_; }

  private:
    void send(const CompletionEvent& event);
    void send_content(const std::string& text);
    void send_text(Event::Kind kind, const std::string& text);
    void release_content();
    std::vector<Logprobs> logprobs_of_text(const std::string& text);

    struct TokenAt {
        Logprobs logprobs;
        std::size_t offset;
    };

    QueuedJob& job_;
    const Request& request_;
    const int choice_;
    const bool raw_;
    CompletionParser parser_;
    StopMatcher stops_;
    std::vector<std::string> call_ids_;
    bool cut_ = false;

    std::deque<TokenAt> logprobs_;  // not yet sent
    std::string text_;              // fed but not yet sent, from text_start_ of the answer on
    std::size_t text_start_ = 0;
};

}  // namespace cachalot::server

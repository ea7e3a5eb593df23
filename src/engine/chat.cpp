#include "engine/chat.h"

#include <algorithm>

#include "base/error.h"
#include "engine/call_rules.h"
#include "engine/run_sequence.h"
#include "text/prompt_protocol.h"
#include "text/prompt_tokens.h"

namespace cachalot {
namespace {

// The answer's text as events for the caller, ended at stop strings. As in all dialects of the server these
// mean nothing in reasoning and in calls.
class Answer {
  public:
    Answer(bool in_reasoning, std::shared_ptr<const ToolSchemas> tools, ChatFormat format, ContentKind kind,
           const std::vector<std::string>& stops, const ChatCallbacks& callbacks)
        : parser_(in_reasoning, std::move(tools), format, kind),
          all_stops_(stops),
          stops_(stops),
          callbacks_(callbacks) {}

    // Both return false if the answer ends here: at a stop string, or because the caller wants no more.
    bool feed(const std::string& text) { return text.empty() || pass_on(parser_.feed(text)); }
    // `cut`: by a limit, so that more might have followed.
    bool finish(bool cut) { return pass_on(parser_.finish(cut)) && release(); }

    bool stopped() const { return !stops_.matched().empty(); }
    Completion completion() const {
        Completion all = parser_.completion();
        all.content = content_;
        return all;
    }

  private:
    bool pass_on(const std::vector<CompletionEvent>& events) {
        return std::all_of(events.begin(), events.end(), [&](const CompletionEvent& event) {
            using Kind = CompletionEvent::Kind;
            if (event.kind == Kind::reasoning) return tell(event);
            if (event.kind != Kind::content) return release() && tell(event);
            const auto released = stops_.push(event.text);
            return tell_content(released.text) && !released.matched;
        });
    }

    // What was held back began no stop string after all.
    bool release() {
        if (stopped()) return false;
        const auto held = stops_.finish();
        stops_ = StopMatcher(all_stops_);
        return tell_content(held);
    }

    bool tell_content(const std::string& text) {
        content_ += text;
        return text.empty() || tell({CompletionEvent::Kind::content, text});
    }

    bool tell(const CompletionEvent& event) { return !callbacks_.on_event || callbacks_.on_event(event); }

    CompletionParser parser_;
    const std::vector<std::string> all_stops_;
    StopMatcher stops_;
    const ChatCallbacks& callbacks_;
    std::string content_;
};

}  // namespace

ChatSession::ChatSession(Engine& engine, Drafting drafting, int longest_draft)
    : engine_(engine), scheduler_(engine, one_at_a_time(engine, drafting, longest_draft)) {}

ChatResult ChatSession::answer(const Conversation& conversation, ChatOptions chat, GenerationOptions options,
                               const ChatCallbacks& callbacks) {
    const Tokenizer& tokenizer = engine_.model().tokenizer;
    chat.format = chat_format_of(tokenizer, chat.format);
    Prompt prompt = encode_prompt(conversation, chat);
    if (prompt.continuation == Continuation::nothing)
        fail("the conversation ends with a finished answer: add a user message");
    auto [tokens, header] = *tokenize_prompt(prompt, tokenizer);
    const auto total = static_cast<std::int64_t>(tokens.size());

    ChatResult result;
    result.prompt_tokens = tokens.size();
    options.special = GenerationOptions::Special::structure;
    const Message& last = conversation.messages.back();
    const bool reasons = prompt.continuation == Continuation::reasoning;
    if (reasons) options.reasoning_end = tokenizer.find(kThinkEnd);
    auto tools = offered_tools(conversation);
    restrict_calls(options, *tools, tokenizer, chat.format);
    if (last.role == Role::assistant) options.begun = content_text(last.content);
    Answer answer(reasons, std::move(tools), chat.format,
                  options.form ? ContentKind::formed : ContentKind::free, options.stops, callbacks);
    options.stops.clear();  // `answer` looks for them where the user would see them
    SequenceOptions place;
    place.header = static_cast<std::int64_t>(header);
    auto sequence =
        std::make_shared<Sequence>(Generation(engine_, std::move(tokens), std::move(options)), place);
    const Generation& generation = sequence->generation();

    SequenceCallbacks watching;
    watching.cancelled = callbacks.cancelled;
    watching.on_event = [&](const SequenceEvent& event) {
        if (event.kind == SequenceEvent::Kind::read)
            return !callbacks.on_prefill ||
                   callbacks.on_prefill(event.done - sequence->cached(), total - sequence->cached());
        return answer.feed(event.text);
    };
    const auto run = run_sequence(scheduler_, sequence, watching);
    if (!answer.stopped()) answer.feed(run.held_back);
    result.timings = run.timings;
    result.kv_bytes = sequence->bytes();
    result.drafts = sequence->drafts();
    result.drafts.gain = scheduler_.drafts().gain;
    result.cached_tokens = static_cast<std::size_t>(sequence->cached());
    if (!answer.stopped()) answer.finish(generation.reason() != FinishReason::eos);
    result.completion = answer.completion();
    result.completion_tokens = generation.completion_tokens();
    result.finish_reason = answer.stopped() ? "stop" : name(generation.reason());
    if (!result.completion.tool_calls.empty() && result.finish_reason == "stop")
        result.finish_reason = "tool_calls";
    return result;
}

}  // namespace cachalot

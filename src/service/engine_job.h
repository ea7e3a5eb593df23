// A request at the model: its choices as sequences of the scheduler, and what becomes of them as events.
//
// All choices read the prompt together and are written at the same time. If the prompt is to be scored, which
// needs the logits of all its tokens, the first choice does that, and the others begin when it is done.
#pragma once

#include <memory>
#include <vector>

#include "engine/scheduler.h"
#include "service/answer_events.h"
#include "service/job_queue.h"
#include "service/prepared_prompt.h"
#include "service/tool_memory.h"

namespace cachalot::server {

// What the worker and its jobs share; outlives every job.
struct Workshop {
    Engine& engine;
    ToolMemory memory;
    Scheduler scheduler;  // of the worker's thread
};

// Throws ApiError 500 "model_changed" once the engine has a problem(), which is the cause of the error.
void check_model(const Engine& engine);

// What the worker does between two passes. But for its base, which any thread may use, it belongs to the
// worker's thread.
class WorkerJob : public QueuedJob {
  public:
    using QueuedJob::QueuedJob;
    virtual void begin() = 0;
    virtual void stop() = 0;  // it is over then
    virtual bool over() const = 0;
};

class EngineJob : public WorkerJob {
  public:
    EngineJob(Workshop& shop, Request request, PreparedPrompt prompt, Service::Sink sink);

    void begin() override;

    // What a pass did for one of a job's choices. Says to which job that belongs.
    static EngineJob& of(const SequenceEvent& event);
    void see(const SequenceEvent& event);

    // Takes what is left of it out of the scheduler; it is over then.
    void stop() override;
    bool over() const override { return over_; }

  private:
    struct Choice;

    void submit_choice();
    void send_started(const Sequence& sequence);
    void send_echo();
    void read(const Choice& choice, const SequenceEvent& event);
    void wrote(Choice& choice, const SequenceEvent& event);
    void score(const SequenceEvent& event);
    void finish(Choice& choice);
    void remember(const Choice& choice);
    std::int64_t reasoning_tokens(const Generation& generation) const;
    RequestTimings timings() const;

    Workshop& shop_;
    const Request request_;
    const PreparedPrompt prompt_;
    const bool scored_;
    Usage usage_;
    std::vector<std::shared_ptr<Choice>> choices_;
    std::vector<Logprobs> scores_;  // of the prompt's tokens
    bool started_ = false, over_ = false;
    int finished_ = 0;  // choices
};

}  // namespace cachalot::server

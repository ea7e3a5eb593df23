// The model behind the server: one engine, one worker that owns it, a queue in front.
//
// Requests are prepared where they arrive (policy, prompt, tokens, limits), so that whatever is wrong with
// one is said at once. The worker hands them to a scheduler, which answers several at once and keeps the
// states of what it has read and written, for each tenant apart.
//
// How the choices of tools are kept:
// - `none`, and if there are no tools: the model cannot write `｜DSML｜`. The prompt stays as it is, tools
//   included, so that the next turn finds it in the cache.
// - `required` and a named tool: the beginning of a block of calls is given as forced tokens, after
//   `</think>` if the model reasons first.
// - One call at most: the answer ends where its first call does.
//
// An answer with a form keeps to it behind the reasoning (sampling/form_constraint.h). Where calls may be
// made it may be calls instead. Of a form of JSON the model is also told in the prompt.
#pragma once

#include <memory>
#include <string>

#include "engine/scheduler.h"
#include "service/job_queue.h"
#include "service/pass_report.h"
#include "service/tool_memory.h"

namespace cachalot::server {

struct EngineServiceOptions {
    std::string model_id;  // what clients call it; empty: the model's own name
    QueueOptions queue;
    SchedulerOptions scheduler;                      // memory 0: what suits the machine
    std::function<void(const PassReport&)> on_pass;  // on the worker's thread
    // Prefixes on disk that are not open yet: asked between passes until it gives them. They must outlive the
    // service.
    std::function<DiskTier*()> late_disk;
    // Where requests start from that do not say otherwise.
    SamplingOptions sampling;
    ChatOptions chat;  // the model decides the format, of V4's generations this does
    ToolMemory::Limits memory;
    TurnStore* turns = nullptr;  // where that is kept on disk; null: nowhere. It must outlive the service.
    bool remove_client_noise = true;  // conversation_policy.h
};

// An eighth of the memory that there is: what is taken for states unless the options say otherwise, or the
// longest sequence needs more.
std::int64_t default_kv_memory();

class EngineService : public Service {
  public:
    // Does some work on the worker's thread, between two passes, and returns when it is done. What the work
    // throws is thrown here. Throws ApiError as submit() does. Not to be called from a sink: they run on that
    // thread.
    virtual void between_passes(const std::function<void(Scheduler&)>& work) = 0;
};

// The engine must outlive the service and is used by nobody else meanwhile.
std::unique_ptr<EngineService> make_engine_service(Engine& engine, EngineServiceOptions options = {});

}  // namespace cachalot::server

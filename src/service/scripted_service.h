// A model that says what a file tells it to: for testing clients, and the server itself, without weights.
//
// Everything but the model is real: requests go through the same policy, prompt encoder and queue, and the
// scripted answers are written as the model would write them, `</think>` and DSML included, and read back by
// the same parser. docs/scripted.md describes the file.
#pragma once

#include <memory>

#include "service/job_queue.h"
#include "service/script.h"
#include "service/service.h"

namespace cachalot::server {

struct ScriptedServiceOptions {
    QueueOptions queue;
    Log log = {};
};

// Clients see it as `script.model`.
std::unique_ptr<Service> make_scripted_service(Script script, ScriptedServiceOptions options = {});

}  // namespace cachalot::server

// Opening a service: an engine, what it keeps on disk, and the scheduler that answers with both.
//
// What the options leave open is chosen here and in engine/open_engine.h. Nothing is printed: what was chosen
// is told as notes while the service is being opened. What cannot be used, like a folder for prefixes, and
// what is found out later, the log of the engine is told, by any thread.
#pragma once

#include <memory>
#include <string>

#include "engine/open_engine.h"
#include "service/engine_service.h"
#include "service/service_disk.h"

namespace cachalot::server {

struct OpenServiceOptions {
    OpenEngineOptions engine;  // `states` follows from the scheduler's memory
    ServiceDiskOptions disk;   // `model_name` follows from `service.model_id`
    // How much longer opening may take for the first requests to find what is on disk, if knowing the model
    // takes time.
    std::chrono::milliseconds disk_patience{2000};
    // scheduler.memory 0: what suits the machine; scheduler.beside 0: what suits the model. Its `sampling`,
    // `turns` and `late_disk` are chosen.
    EngineServiceOptions service;
};

// Each part uses those before it.
struct OpenedService {
    explicit OpenedService(const OpenServiceOptions& options);

    Engine engine;
    ServiceDisk disk;
    std::unique_ptr<EngineService> service;
};

// What clients call the model at that path: the name of its file or directory.
std::string model_name(const std::string& path);

// Throws Error as open_engine() does, and for options of the scheduler out of range.
std::unique_ptr<OpenedService> open_service(const OpenServiceOptions& options);

}  // namespace cachalot::server

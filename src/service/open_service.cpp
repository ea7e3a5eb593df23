#include "service/open_service.h"

#include <filesystem>

#include "model/checkpoint_files.h"

namespace cachalot::server {
namespace {

OpenEngineOptions with_states(OpenEngineOptions options, const SchedulerOptions& scheduler) {
    options.states = scheduler.memory ? scheduler.memory : default_kv_memory();
    return options;
}

ServiceDiskOptions with_name(ServiceDiskOptions options, const std::string& name) {
    options.model_name = name;
    return options;
}

}  // namespace

std::string model_name(const std::string& given) {
    auto path = std::filesystem::absolute(given).lexically_normal();
    if (!path.has_filename()) path = path.parent_path();  // a directory with a slash at its end
    const std::string name = path.filename().string();
    return names_model_file(name) ? path.stem().string() : name;
}

OpenedService::OpenedService(const OpenServiceOptions& o)
    : engine(open_engine(with_states(o.engine, o.service.scheduler))),
      disk(with_name(o.disk, o.service.model_id), engine) {
    disk.wait(o.disk_patience);
    EngineServiceOptions options = o.service;
    options.scheduler.drafting = drafting_of(o.engine.draft);
    options.scheduler.longest_draft = o.engine.draft_max;
    // To read all experts for a few tokens would take as long as for many.
    if (options.scheduler.beside == 0)
        options.scheduler.beside = engine.expert_stats() ? engine.options().chunk : SchedulerOptions().beside;
    options.turns = disk.turns();
    options.late_disk = [this] { return disk.prefixes(); };
    options.sampling = recommended_sampling(engine.model());
    service = make_engine_service(engine, options);
}

std::unique_ptr<OpenedService> open_service(const OpenServiceOptions& options) {
    OpenServiceOptions named = options;
    if (named.service.model_id.empty()) named.service.model_id = model_name(find_model(options.engine.path));
    return std::make_unique<OpenedService>(named);
}

}  // namespace cachalot::server

// A service whose requests are counted and timed.
#pragma once

#include <memory>

#include "service/metrics.h"
#include "service/service.h"

namespace cachalot::server {

// Passes everything on to `service` and tells `metrics` what it sees. Metrics must outlive the result.
std::unique_ptr<Service> make_metered_service(std::unique_ptr<Service> service, Metrics& metrics);

}  // namespace cachalot::server

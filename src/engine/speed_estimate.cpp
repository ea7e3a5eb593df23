#include "engine/speed_estimate.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "base/error.h"
#include "experts/expert_records.h"
#include "experts/slot_memory.h"

namespace cachalot {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::pair<double, double> kCurve[] = {{0, 0},        {0.055, 0.405}, {0.104, 0.596},
                                                {0.22, 0.744}, {0.44, 0.865},  {1, 1}};
constexpr double kLess = 0.10, kMore = 0.05;
constexpr double kWorstShare = 0.4, kBestShare = 0.9;  // of the memory's speed
constexpr int kReaders = 6;  // experts under way; a layer of a token chooses about so many

}  // namespace

double expected_hit_rate(double share) {
    share = std::clamp(share, 0.0, 1.0);
    const auto* to = std::find_if(std::begin(kCurve) + 1, std::end(kCurve) - 1,
                                  [&](const auto& point) { return share <= point.first; });
    const auto* from = to - 1;
    return from->second + (to->second - from->second) * (share - from->first) / (to->first - from->first);
}

SpeedEstimate estimate_speed(const ModelSize& size, const MemoryPlan& plan, double memory_bytes_per_second,
                             double disk_bytes_per_second) {
    const Config& c = size.config;
    SpeedEstimate e;
    e.memory_bytes_per_second = memory_bytes_per_second;
    e.disk_bytes_per_second = disk_bytes_per_second;
    if (plan.resident()) {
        e.hit_rate = {1, 1};
    } else {
        const double hits = expected_hit_rate(static_cast<double>(plan.slots) / plan.experts);
        e.hit_rate = {std::max(0.0, hits - kLess), std::min(1.0, hits + kMore)};
    }
    const double experts = static_cast<double>(plan.routed_experts) / c.experts * c.experts_per_token;
    const double rows =
        plan.engram_on_disk() ? static_cast<double>(c.engram.layers.size()) * c.engram.rows_per_token() : 0;
    e.bytes_read = {(1 - e.hit_rate.high) * experts,
                    (1 - e.hit_rate.low) * experts + rows * static_cast<double>(BlockReader::kBlock)};
    const double memory = static_cast<double>(size.token.bytes) / memory_bytes_per_second;
    const double least = e.bytes_read.low / disk_bytes_per_second,
                 most = e.bytes_read.high / disk_bytes_per_second;
    e.tokens_per_second = {1 / (memory / kWorstShare + most), 1 / std::max(memory / kBestShare, least)};
    return e;
}

double measure_expert_reads(const Model& model, double seconds) {
    const ExpertRecords records(model);
    const SlotMemory memory(kReaders, records.slot_bytes());
    BlockReader reader(records.files(), make_read_queue());
    std::mt19937 random(7);
    auto any = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    std::uint64_t bytes = 0;
    const auto start = Clock::now();
    auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
    auto read = [&](std::uint64_t slot) {
        const auto runs = records.runs(any(records.header().layers), any(records.header().experts), 0,
                                       memory.slot(static_cast<int>(slot)));
        for (const auto& run : runs) bytes += run.read_bytes();
        reader.submit(slot, runs);
    };
    for (int slot = 0; slot < kReaders; ++slot) read(static_cast<std::uint64_t>(slot));
    while (const auto finished = reader.next(true)) {
        if (!finished->error.empty()) fail("{}", finished->error);
        if (elapsed() < seconds) read(finished->job);
    }
    return static_cast<double>(bytes) / elapsed();
}

}  // namespace cachalot

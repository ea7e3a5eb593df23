// How fast answers will be written with a cache of experts: a label for a plan, never a condition.
//
// The share of hits is that of a curve. Two engines have published measurements of DeepSeek V4 Flash that
// agree within a point: 40.5 % of the lookups with 5.5 % of the experts in memory, 59.6 with 10.4, 74.4 with
// 22 and 86.5 with 44 (antirez/ds4 and hipfire). Texts differ: after a change of subject it is less, with a
// repetitive text more, so that the estimate is a range, ten points down and five up. For other models the
// same curve is assumed.
//
// Rows of Engram tables that do not fit into memory are read a block at a time: at best none, as they are
// those of common phrases, at worst all.
//
// What is not hit is read at the speed of the disk, and all that a token needs goes through memory at the
// speed of the memory: at worst one after the other at 40 % of it, at best at the same time and at 90 %.
#pragma once

#include "engine/memory_plan.h"

namespace cachalot {

// Share of lookups that are hits when this share of the experts is in memory.
double expected_hit_rate(double share);

struct Range {
    double low = 0, high = 0;
};

struct SpeedEstimate {
    double memory_bytes_per_second = 0, disk_bytes_per_second = 0;  // that it is for
    Range hit_rate;
    Range bytes_read;  // from disk, for a token
    Range tokens_per_second;
};

SpeedEstimate estimate_speed(const ModelSize& size, const MemoryPlan& plan, double memory_bytes_per_second,
                             double disk_bytes_per_second);

// Bytes a second at which experts chosen at random are read, several at a time and past the page cache where
// that can be done. Takes about `seconds`. Throws Error if they cannot be read.
double measure_expert_reads(const Model& model, double seconds = 1);

}  // namespace cachalot

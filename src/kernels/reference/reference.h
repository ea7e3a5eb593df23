// The specification: every operation in plain scalar code, one function per box, written to be read beside
// the paper. Sums run in index order in float64 where a sum is long, so that the reference is at least as
// accurate as anything compared with it. Speed does not matter here.
#pragma once

#include "kernels/primitives.h"

namespace cachalot::reference {

void project(const Projection& p, int rows);
void rms_norm(float* x, const float* weight, float eps, int n);  // weight may be null: all ones
void rotate(float* x, int n, const float* cosine, const float* sine, int half, bool inverse);

void hyper_connection_pre(const HyperConnectionWeights& w, const HyperConnectionParams& p, const float* norm,
                          const float* streams, float* x, float* post, float* comb, float* delayed);
void hyper_connection_post(const HyperConnectionParams& p, const float* out, const float* post,
                           const float* comb, float* streams);
void hyper_connection_head(const HyperConnectionWeights& w, const HyperConnectionParams& p, const float* norm,
                           const float* streams, float* x, const float* delayed);
void average(const float* streams, int hidden, float* y);
void engram(const EngramParams& p, const float* kv, float* streams);

void latent(const LatentCall& call);
void compress(const CompressCall& call);
void keys(const KeyCall& call);
void index(const IndexCall& call);
void attend(const AttendCall& call);
void route(const RouteCall& call);
void experts(const ExpertsCall& call);

}  // namespace cachalot::reference

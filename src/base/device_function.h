// What kernels for graphics cards share with the host: functions that are marked are compiled for both.
#pragma once

#ifdef __CUDACC__
#define CACHALOT_BOTH __host__ __device__
#else
#define CACHALOT_BOTH
#endif

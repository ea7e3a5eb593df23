# The part of the program that runs on cards of NVIDIA: the language, its flags, and for which cards it is compiled.
#
# Ready-made code for A100 (80), RTX 40 (89), H100 and H200 (90a, with the instructions that only Hopper has) and RTX 50
# (120); PTX, which the driver compiles when the program starts, for everything else from 80 on. A shorter list compiles
# faster: CUDAARCHS=90a-real in the environment, or -DCMAKE_CUDA_ARCHITECTURES=native for the card of this machine.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND "$ENV{CUDAARCHS}" STREQUAL "")
  set(CMAKE_CUDA_ARCHITECTURES 80 89-real 90a-real 120-real)
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # the static one is linked by name: the program starts without CUDA, too
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "CACHALOT_CUDA needs nvcc of CUDA 12.8 or newer; set CUDACXX to it, or put its folder into PATH")
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc knows C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.8)
  message(FATAL_ERROR "CACHALOT_CUDA needs CUDA 12.8 or newer, which knows RTX 50; this is ${CMAKE_CUDA_COMPILER_VERSION}")
endif()
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
find_package(CUDAToolkit REQUIRED)

# Functions of the host that are constant expressions may be called on the card. Warnings of the host's compiler, but
# those that CUDA's own headers or what nvcc makes of our code would cause.
set(cachalot_cuda_flags --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra,-Wno-unused-parameter
    -Xcudafe=--diag_suppress=20012)
if(CACHALOT_WERROR)
  list(APPEND cachalot_cuda_flags -Werror=all-warnings)
endif()

# cachalot_cuda_sources(TARGET FILES...): adds .cu files to a target.
function(cachalot_cuda_sources target)
  target_sources(${target} PRIVATE ${ARGN})
  foreach(file ${ARGN})
    set_source_files_properties(${file} TARGET_DIRECTORY ${target} PROPERTIES
      COMPILE_OPTIONS "${cachalot_cuda_flags}" SKIP_PRECOMPILE_HEADERS ON SKIP_UNITY_BUILD_INCLUSION ON)
  endforeach()
endfunction()

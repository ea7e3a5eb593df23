# Flags that every target shares, carried by an interface library so that they are stated once.
add_library(cachalot_warnings INTERFACE)
target_compile_options(cachalot_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wno-unused-parameter -Wno-sign-compare
  -Wno-missing-field-initializers
  # Numerics: every kernel is compared with a scalar reference, so the compiler may not reassociate or contract.
  -ffp-contract=off -fno-math-errno>)
if(CACHALOT_WERROR)
  target_compile_options(cachalot_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(CACHALOT_SANITIZE)
  target_compile_options(cachalot_warnings INTERFACE -fsanitize=${CACHALOT_SANITIZE} -fno-sanitize-recover=all
                         -fno-omit-frame-pointer)
  target_link_options(cachalot_warnings INTERFACE -fsanitize=${CACHALOT_SANITIZE})
endif()
if(CACHALOT_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "CACHALOT_FUZZ needs clang, which has libFuzzer; use the preset 'check'")
  endif()
  target_compile_options(cachalot_warnings INTERFACE -fsanitize=address,undefined
                         -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(cachalot_warnings INTERFACE -fsanitize=address,undefined)
endif()
if((CACHALOT_SANITIZE OR CACHALOT_FUZZ) AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # clang 14 writes data for this check beside every function, which its assembler cannot do for parts of coroutines.
  target_compile_options(cachalot_warnings INTERFACE -fno-sanitize=function)
endif()

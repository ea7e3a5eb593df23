# Fails if an object file defines a global symbol other than its table function.
foreach(object ${OBJECTS})
  execute_process(COMMAND ${NM} --demangle --defined-only --extern-only ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX REPLACE "\n+$" "" symbols "${symbols}")
  string(REPLACE "\n" ";" symbols "${symbols}")
  foreach(symbol ${symbols})
    # The personality is a pointer into the C++ runtime, which a file with destructors has, and no code.
    if(NOT symbol MATCHES "_table\\(\\)$" AND NOT symbol MATCHES "DW\\.ref\\.__gxx_personality_v0$")
      message(SEND_ERROR "${object} defines ${symbol}")
    endif()
  endforeach()
endforeach()

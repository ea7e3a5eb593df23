# What `cmake --install` puts where: the program with its toy models, and the library for programs in C and C++.
include(CMakePackageConfigHelpers)

install(TARGETS cachalot RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# Where the program looks for them: beside its own folder.
install(FILES models/nano/nano.gguf models/nano/nano-dspark.gguf models/nano41/nano41.gguf DESTINATION ${CMAKE_INSTALL_DATADIR}/cachalot)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(NOT CACHALOT_SHARED)
  return()
endif()

install(TARGETS cachalot_shared EXPORT cachalotTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/cachalot DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES examples/complete.c examples/tools.json DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

# pkg-config: relative to where the file lies, so that the folder may be moved.
file(RELATIVE_PATH CACHALOT_PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(cmake/cachalot.pc.in cachalot.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/cachalot.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# find_package(cachalot), target cachalot::cachalot
set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/cachalot)
install(EXPORT cachalotTargets NAMESPACE cachalot:: DESTINATION ${config_folder})
file(WRITE ${CMAKE_BINARY_DIR}/cachalotConfig.cmake "include(\"\${CMAKE_CURRENT_LIST_DIR}/cachalotTargets.cmake\")\n")
write_basic_package_version_file(${CMAKE_BINARY_DIR}/cachalotConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/cachalotConfig.cmake ${CMAKE_BINARY_DIR}/cachalotConfigVersion.cmake
        DESTINATION ${config_folder})

// swift-tools-version: 6.2
import PackageDescription

// A package of its own, which depends on the library as yours would.
let package = Package(
    name: "Examples",
    dependencies: [.package(name: "SharedState", path: "..")],
    targets: [
        .target(name: "Reading"),
        .executableTarget(
            name: "producer",
            dependencies: ["Reading", .product(name: "CShm", package: "SharedState")]),
        .executableTarget(
            name: "consumer",
            dependencies: ["Reading", .product(name: "SharedState", package: "SharedState")]),
    ]
)

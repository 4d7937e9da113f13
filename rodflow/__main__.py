from rodflow.cli import main

main()
